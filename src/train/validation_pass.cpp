// SPDX-License-Identifier: Apache-2.0
#include "validation_pass.hpp"

#include <torch/nn/module.h>

namespace bunchtrain::train {
namespace {

/// Modules in evaluation mode, back in training mode at the end.
class EvaluationMode {
 public:
  explicit EvaluationMode(const std::vector<torch::nn::Module*>& modules) : modules_(modules) {
    for (auto* module : modules_) module->eval();
  }
  ~EvaluationMode() {
    for (auto* module : modules_) module->train();
  }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  const std::vector<torch::nn::Module*>& modules_;
};

}  // namespace

data::Batch in_precision(data::Batch batch, device::Precision precision) {
  if (precision != device::Precision::float64) return batch;
  NamedTensors converted;
  for (const auto& [name, tensor] : batch.tensors)
    converted.set(name, tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor);
  batch.tensors = std::move(converted);
  return batch;
}

ValidationResult run_validation(Session& session, const std::vector<torch::nn::Module*>& modules,
                                Validation& validation, data::DataLoader& loader,
                                const std::function<void(std::int64_t, std::int64_t)>& on_batch) {
  const at::NoGradGuard no_gradients;
  const EvaluationMode evaluation(modules);
  std::int64_t done = 0;
  while (auto batch = loader.next()) {
    if (on_batch) on_batch(++done, loader.steps_per_epoch());
    if (batch->size() == 0) continue;
    const device::PrecisionGuard precision(session.precision(), session.device().type());
    validation.add(in_precision(std::move(*batch), session.precision()));
  }
  auto ranks = session.agreement();
  return validation.finish(ranks);
}

}  // namespace bunchtrain::train
