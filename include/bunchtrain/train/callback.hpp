// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Hooks into a training run.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/train/step.hpp"

namespace bunchtrain::train {

/// What happened in one optimizer step.
struct StepEvent {
  std::int64_t step = 0;   ///< optimizer steps done, from 1
  std::int64_t epoch = 0;  ///< from 0
  double loss = 0;         ///< mean over the samples of all ranks
  double learning_rate = 0;
  double gradient_norm = 0;          ///< 0 if not computed
  std::vector<LossTerm> terms = {};  ///< of a `ManualStep`: means over the samples of all ranks
};

/// Called on every rank, in the order of registration. An exception ends the run. Override what is needed.
class Callback {
 public:
  virtual ~Callback() = default;
  virtual void on_step(const StepEvent&) {}
  virtual void on_epoch(const report::EpochRow&) {}
  virtual void on_checkpoint(const std::filesystem::path&) {}
};

}  // namespace bunchtrain::train
