// SPDX-License-Identifier: Apache-2.0
#pragma once
/// NaN and infinity in raw columns, found before any transform could hide them.

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "compiled_card.hpp"
#include "expressions/program.hpp"

namespace bunchtrain::features::detail {

/// A value that no tensor should be made of, and where it is.
struct OddValue {
  std::int64_t row = 0;     ///< position within the raw block
  std::int32_t slot = -1;   ///< of the particle; -1: a value of the jet
  std::string column = {};  ///< "part.e", or the expression that gave the value
  double value = 0;
  bool hidden_by_mask = false;  ///< NaN in a column of the mask makes padding of what looks like a particle
};

/// What counts as odd besides infinity.
struct OddRules {
  bool nan_is_fine = false;                             ///< the card replaces NaN
  double largest = std::numeric_limits<double>::max();  ///< of jet values; particles are single precision
};

/// Appends the first odd value of each row among the columns that `program` loaded in its last run over
/// `rows`. @param needed which columns count, empty: all. One pass over them where nothing is odd.
void collect_odd(const Program& program, const std::vector<bool>& needed, std::span<const std::int64_t> rows,
                 const PackedRows& packed, Workspace& workspace, const OddRules& rules,
                 std::vector<OddValue>& odd);

/// The same for the mask's columns, right after `packed` was made by it: what decides about a real particle
/// has to be finite, and a slot that only NaN makes padding must not hold a particle in its other columns.
class MaskCheck {
 public:
  MaskCheck(const CompiledCard& compiled, const RawColumns& raw, bool nan_is_fine);
  /// To be called first, and when the columns of the block are others.
  void bind();
  void collect(std::span<const std::int64_t> rows, const PackedRows& packed, Workspace& workspace,
               std::vector<OddValue>& odd) const;

 private:
  std::int32_t find_hidden(std::int64_t row, const float* values) const;
  bool holds_particle(std::int64_t row, std::int64_t slot) const;
  void collect_particles(std::size_t column, std::span<const std::int64_t> rows, const PackedRows& packed,
                         const float* values, std::vector<OddValue>& odd) const;

  const CompiledCard& compiled_;
  const RawColumns& raw_;
  bool nan_is_fine_;
  std::vector<const float*> beside_;  ///< columns that inputs use and the mask does not
};

/// What to tell the user about an odd value of an input or the mask, with the lines to paste.
/// @param odd_rows how many of the block's `rows` have one
std::string describe_odd_input(const Card& card, const RawColumns& raw, const OddValue& odd,
                               std::int64_t odd_rows, std::int64_t rows);
/// The same for what decides about a jet. @param use "the selection", @param expression its text
std::string describe_odd_jet(const Card& card, const RawColumns& raw, const OddValue& odd,
                             std::int64_t odd_rows, std::int64_t rows, std::string_view use,
                             std::string_view expression);

}  // namespace bunchtrain::features::detail
