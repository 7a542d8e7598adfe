// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Runs the programs of a card over the rows of a block and lays the results out as dense arrays. No LibTorch.

#include <cstdint>
#include <span>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "compiled_card.hpp"
#include "expressions/vector_math.hpp"
#include "odd_values.hpp"

namespace bunchtrain::features::detail {

/// The transform of an input; none of one that is not fitted yet.
Standardisation standardisation_of(const InputSpec& spec);

/// Where inputs of N rows go.
struct InputArrays {
  std::vector<float*> inputs;  ///< per input tensor [N, length, columns]; of ragged cards [elements, columns]
  bool* mask = nullptr;        ///< [N, length]; unused by ragged cards
  std::vector<double*> observers;  ///< [N] each
};

/// What was seen on the way.
struct InputCounts {
  std::int64_t elements = 0;           ///< written, of ragged cards
  std::int64_t truncated = 0;          ///< rows with more real particles than `length`
  std::int64_t without_particles = 0;  ///< rows
  std::vector<std::int64_t> replaced;  ///< per input column: values that took the card's `nan`
};

/// Writes inputs, mask and observers, group after group of rows. Keeps references, and its buffers from block to
/// block: blocks of the same shape cost no allocation. One thread at a time.
class InputWriter {
 public:
  /// @param raw whose columns may change from `write` to `write`.
  InputWriter(const Card& card, const CompiledCard& compiled, const RawColumns& raw, Workspace& workspace);
  /// @throws DataError for raw values that are not finite.
  void write(std::span<const std::int64_t> rows, const InputArrays& arrays);
  const InputCounts& counts() const noexcept { return counts_; }

 private:
  void bind();
  void write_group(std::size_t first, std::span<const std::int64_t> group, const InputArrays& arrays);
  std::vector<OddValue> run_programs(std::size_t first, std::span<const std::int64_t> group,
                                     const InputArrays& arrays);
  [[noreturn]] void refuse(std::span<const std::int64_t> rows, const InputArrays& arrays);
  void take_jet_values(std::size_t first, std::size_t count, const InputArrays& arrays);
  void sort_rows(const float* key);
  void write_mask(bool* mask) const;
  void transform_columns(std::size_t tensor, std::size_t first_column, std::span<const std::int64_t> group);
  void write_packed(std::size_t tensor, float* out) const;
  void write_padded(std::size_t tensor, float* out) const;
  std::int64_t mend_column(float* values, const InputSpec& spec, std::span<const std::int64_t> group) const;

  const Card& card_;
  const CompiledCard& compiled_;
  const RawColumns& raw_;
  Workspace& workspace_;
  ParticlePacker packer_;
  MaskCheck mask_check_;
  BoundColumns jet_columns_, input_columns_;
  PackedRows packed_;          ///< real particles of the group at hand
  std::vector<double> given_;  ///< jet values that the inputs take, [given, rows of the group]
  std::vector<const double*> given_pointers_;
  std::vector<std::vector<Standardisation>> transforms_;  ///< per input tensor
  std::vector<std::vector<float>> columns_;               ///< transformed columns of the tensor being written
  std::vector<std::int32_t> order_, sorted_;
  InputCounts counts_;
};

}  // namespace bunchtrain::features::detail
