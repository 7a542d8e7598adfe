// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The programs of a card, and the packing of real particles that they run on.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "expressions/card_expressions.hpp"
#include "expressions/packed_rows.hpp"
#include "expressions/program.hpp"

namespace bunchtrain::features::detail {

/// Programs with the columns they need. Immutable after construction.
struct CompiledCard {
  /// @throws ConfigError naming the expression that does not compile.
  /// @param targets which of the card's are computed.
  explicit CompiledCard(const Card& card, std::span<const std::string> targets = {});

  Program mask;    ///< particle output 0: real or not; empty = every slot is real
  Program jets;    ///< what the inputs need of the jet, then the observers, then the sorting key
  Program inputs;  ///< all columns of all input tensors, in card order
  /// `jets` in two halves, for devices: what is summed over particles, and the same outputs without the sorting key from these
  /// sums, one after another, which need no particles any more.
  Program sums, jets_of_sums;
  Program select, label, split, weight;  ///< jet output 0 each; empty if the card has none
  std::vector<Program> targets;          ///< jet output 0 each: those asked for
  std::size_t num_sums = 0;              ///< outputs of `sums`
  std::size_t num_given = 0;             ///< leading outputs of `jets` that `inputs` takes
  std::size_t num_observers = 0;
  bool has_mask = false, has_select = false, has_label = false, has_split = false, has_weight = false;
  /// Whether they are values of hits, not of events: particle output 0 then. Only cards of hits have such.
  bool label_of_elements = false, weight_of_elements = false;
  std::vector<bool> target_of_elements;

  bool has_element_numbers() const noexcept {
    return (has_label && label_of_elements) || (has_weight && weight_of_elements) ||
           std::ranges::find(target_of_elements, true) != target_of_elements.end();
  }

  std::vector<std::string> required, optional, selection;  ///< column names with prefix

  /// Columns of `jets` that more than observers use, by their place in it: they have to be finite. Of
  /// `inputs` only those that `jets` does not load already, for more particles.
  std::vector<bool> jets_need, inputs_need;
  std::vector<bool> jets_of_sums_need;  ///< the same of `jets_of_sums`
  /// Particle columns that inputs use and the mask does not: they tell a damaged particle from padding.
  std::vector<std::string> beside_mask;  ///< without prefix
};

/// Rows per group: small enough for the arrays of a group to stay in the cache, large
/// enough to pay for the calls.
std::size_t rows_per_group(const RawColumns& raw) noexcept;

/// Finds the real particles of groups of rows of one raw block. Keeps references: short-lived, one thread.
class ParticlePacker {
 public:
  ParticlePacker(const CompiledCard& compiled, const RawColumns& raw);
  /// To be called first, and when the columns of the block are others.
  void bind();
  /// Fills `real` with the slots of the real particles of `rows`, in the order of the file.
  void pack(std::span<const std::int64_t> rows, Workspace& workspace, PackedRows& real);

 private:
  void take_all(std::span<const std::int64_t> rows);

  const CompiledCard& compiled_;
  const RawColumns& raw_;
  BoundColumns mask_columns_;
  PackedRows all_;
};

}  // namespace bunchtrain::features::detail
