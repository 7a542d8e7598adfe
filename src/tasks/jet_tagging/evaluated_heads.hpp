// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an evaluation finds of a network's heads beside the classes.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/train/validation.hpp"
#include "trained_network.hpp"

namespace bunchtrain::jet_tagging {

/// Collects estimates and targets of one pass. Not thread-safe.
class EvaluatedHeads {
 public:
  /// @param data what they are of, for texts.
  EvaluatedHeads(const TrainedNetwork& trained, const std::string& data);

  /// Columns of the rows.
  std::int64_t width() const noexcept { return width_; }
  /// [B, width()] float64: of each head the estimate, its own error if it has one, and the target, which is NaN
  /// where the file has none. Jets with targets are counted.
  at::Tensor add(const Batch& batch, const NamedTensors& outputs);
  /// Collective. Over the jets of all ranks; nothing of heads for which no jet has a target.
  train::ValidationResult finish(comm::Communicator& ranks);

 private:
  struct Head {
    EstimatedTarget estimate;
    std::shared_ptr<train::Validation> validation;
  };
  std::vector<Head> heads_;
  std::int64_t width_ = 0;
};

/// The outputs that are estimates, and their own errors: "energy", "energy_width".
std::vector<std::string> estimate_outputs(const TrainedNetwork& trained);

/// "energy", "energy_width" and "target_energy": what the columns are called in a file of scores.
std::vector<std::string> head_columns(const std::vector<EstimatedTarget>& heads);

}  // namespace bunchtrain::jet_tagging
