// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One pass over validation data: each sample once over all ranks.

#include <functional>
#include <vector>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/validation.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::train {

/// Collective. Shows one epoch of `loader` to `validation`, without gradients, `modules` in evaluation mode.
/// `on_batch` is told how far it is.
ValidationResult run_validation(Session& session, const std::vector<torch::nn::Module*>& modules,
                                Validation& validation, data::DataLoader& loader,
                                const std::function<void(std::int64_t, std::int64_t)>& on_batch = {});

/// A batch in the session's precision: floating inputs become float64 there.
data::Batch in_precision(data::Batch batch, device::Precision precision);

}  // namespace bunchtrain::train
