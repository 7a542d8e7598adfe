// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Runs the programs of a card over the rows of a block and lays the results out as tensors.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "bunchtrain/features/feature_pipeline.hpp"
#include "compiled_card.hpp"
#include "expressions/vector_math.hpp"
#include "odd_values.hpp"

namespace bunchtrain::features::detail {

/// Arrays of the calling thread: some hundred KiB that every block would otherwise allocate again.
Workspace& thread_workspace();

/// Writes inputs, mask and observers of one block, group after group of rows. Keeps references:
/// short-lived, one thread.
class BlockWriter {
 public:
  BlockWriter(const Card& card, const CompiledCard& compiled, const RawColumns& raw,
              std::span<const std::int64_t> rows);
  /// Sets the tensors of `block`, how many rows were truncated or had no particle, how many values were
  /// replaced. @throws DataError for raw values that are not finite.
  void write(FeatureBlock& block);

 private:
  void write_group(std::size_t first, std::span<const std::int64_t> group);
  std::vector<OddValue> run_programs(std::size_t first, std::span<const std::int64_t> group);
  [[noreturn]] void refuse();
  void take_jet_values(std::size_t first, std::size_t count);
  void write_mask(std::size_t first);
  void transform_columns(std::size_t tensor, std::size_t first_column, std::span<const std::int64_t> group);
  void write_packed(std::size_t tensor);
  void write_padded(std::size_t tensor, std::size_t first);
  std::int64_t mend_column(float* values, const InputSpec& spec, std::span<const std::int64_t> group) const;

  const Card& card_;
  const CompiledCard& compiled_;
  const RawColumns& raw_;
  std::span<const std::int64_t> rows_;
  Workspace& workspace_;
  ParticlePacker packer_;
  MaskCheck mask_check_;
  BoundColumns jet_columns_, input_columns_;
  PackedRows packed_;          ///< real particles of the group at hand
  std::vector<double> given_;  ///< jet values that the inputs take, [given, rows of the group]
  std::vector<const double*> given_pointers_;
  std::vector<std::vector<Standardisation>> transforms_;  ///< per input tensor
  std::vector<std::vector<float>> columns_;               ///< transformed columns of the tensor being written
  std::vector<at::Tensor> inputs_, observers_;
  at::Tensor mask_;            ///< of padded rows
  std::int64_t elements_ = 0;  ///< of ragged rows, written so far
  std::int64_t truncated_ = 0, without_particles_ = 0;
  std::vector<std::int64_t> replaced_;  ///< per input column
};

}  // namespace bunchtrain::features::detail
