// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One pass over validation data: each sample once over all ranks.

#include <functional>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "bunchtrain/train/validation.hpp"
#include "sample_metrics.hpp"

namespace bunchtrain::train {

/// Networks, and what judges them.
struct ValidationTask {
  std::span<const TrainedNetwork> networks;
  const nn::Objective* objective = nullptr;  ///< of the one network; null: of several
  Validation* validation = nullptr;          ///< null: the objective alone
  std::span<const NamedSampleMetric> metrics = {};
  bool weighted = true;  ///< the objective sees the weights of samples
};

/// Collective. Judges networks by one epoch of `loader`, without gradients, in evaluation mode.
/// `on_batch` is told how far it is. A stop request on any rank breaks the pass off after the batch: @throws
/// Interrupted. A fault of one rank (its data, its scores) is thrown on all of them, of its kind.
/// @throws NotFinite if a network's output was not finite.
ValidationResult run_validation(Session& session, const ValidationTask& task, data::DataLoader& loader,
                                const std::function<void(std::int64_t, std::int64_t)>& on_batch = {});

/// Weights whose output is not finite: the run cannot go on from them.
class NotFinite : public Error {
 public:
  using Error::Error;
};

/// A batch in the session's precision: floating inputs become float64 there.
Batch in_precision(Batch batch, device::Precision precision);

}  // namespace bunchtrain::train
