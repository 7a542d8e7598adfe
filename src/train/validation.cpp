// SPDX-License-Identifier: Apache-2.0
#include "validation.hpp"

#include <torch/nn/module.h>

#include "bunchtrain/train/evaluation.hpp"

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

std::optional<metrics::ClassificationOptions> classification_options(const data::Dataset& dataset) {
  const auto& classes = dataset.summary().classes;
  if (classes.size() < 2) return std::nullopt;
  const auto* card = dataset.card();
  return classification_options(classes, card ? card->signal : std::string());
}

data::Batch in_precision(data::Batch batch, device::Precision precision) {
  if (precision != device::Precision::float64) return batch;
  NamedTensors converted;
  for (const auto& [name, tensor] : batch.tensors)
    converted.set(name, tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor);
  batch.tensors = std::move(converted);
  return batch;
}

metrics::ClassificationResult validate(Session& session, const std::vector<torch::nn::Module*>& modules,
                                       const Step& step, data::DataLoader& loader,
                                       const metrics::ClassificationOptions& options,
                                       const std::function<void(std::int64_t, std::int64_t)>& on_batch) {
  const at::NoGradGuard no_gradients;
  const EvaluationMode evaluation(modules);
  metrics::ClassificationMetrics metrics(options);
  std::int64_t done = 0;
  while (auto batch = loader.next()) {
    if (on_batch) on_batch(++done, loader.steps_per_epoch());
    if (batch->size() == 0) continue;
    const device::PrecisionGuard precision(session.precision(), session.device().type());
    const data::Batch ready = in_precision(std::move(*batch), session.precision());
    const StepResult result = step(ready);
    metrics.add_logits(result.outputs, ready["label"]);
  }
  auto world = session.agreement();
  return metrics.compute(world);
}

}  // namespace bunchtrain::train
