// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One pass over validation data: each sample once over all ranks.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/metrics/classification.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/step.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::train {

/// Classes and signal of a dataset's card, as metrics want them; nothing without classes.
std::optional<metrics::ClassificationOptions> classification_options(const data::Dataset& dataset);

/// Collective. Runs `step` without gradients, modules in evaluation mode, over one epoch of `loader`.
/// `on_batch` is told how far it is.
metrics::ClassificationResult validate(Session& session, const std::vector<torch::nn::Module*>& modules,
                                       const Step& step, data::DataLoader& loader,
                                       const metrics::ClassificationOptions& options,
                                       const std::function<void(std::int64_t, std::int64_t)>& on_batch = {});

/// A batch in the session's precision: floating inputs become float64 there.
data::Batch in_precision(data::Batch batch, device::Precision precision);

}  // namespace bunchtrain::train
