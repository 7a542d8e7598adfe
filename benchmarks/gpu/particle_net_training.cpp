// SPDX-License-Identifier: Apache-2.0
#include "particle_net_training.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/train/objectives.hpp"
#include "rows.hpp"

namespace gpu_bench {

namespace bt = bunchtrain;

/// Why steps stay as they are.
class Refusals : public bt::LogSink {
 public:
  void write(bt::LogLevel level, std::string_view text) override {
    if (level >= bt::LogLevel::warning) last = text;
  }
  std::string last = "steps are not captured";
};

namespace {

/// Stands for a CUDA graph where there is no GPU.
class HostGraph : public bt::device::StepGraph {
 public:
  explicit HostGraph(bool works) : works_(works) {}
  void capture(const std::function<void()>& work) override {
    work_ = work;
    if (!works_) work_();
  }
  void replay() override {
    if (works_) work_();
  }

 private:
  bool works_;
  std::function<void()> work_;
};

bt::train::CapturedSteps::CreateGraph graphs_of(c10::Device device, Enqueued enqueued) {
  if (enqueued == Enqueued::singly) return {};
  if (device.is_cuda()) return [device] { return bt::device::create_step_graph(device); };
  return [works = enqueued == Enqueued::captured] { return std::make_unique<HostGraph>(works); };
}

bt::models::ParticleNet network_for(const Jets& jets, c10::Device device) {
  bt::models::ParticleNet model({.num_features = jets.features, .num_classes = jets.classes});
  model->to(device);
  return model;
}

}  // namespace

std::int64_t Jets::real_of(std::int64_t jet) const {
  return real.empty() ? particles : std::min(real[static_cast<std::size_t>(jet) % real.size()], particles);
}

std::string Jets::describe() const {
  std::string text = fmt::format("{} jets of {} particles", count, particles);
  if (features != 7 || classes != 2) text += fmt::format(", {} features, {} classes", features, classes);
  if (real.size() == 1) return text + fmt::format(", {} of them real", real_of(0));
  if (real.empty()) return text;
  double sum = 0;
  for (std::int64_t jet = 0; jet < count; ++jet) sum += static_cast<double>(real_of(jet));
  return text + fmt::format(", {:.1f} of them real on average", sum / static_cast<double>(count));
}

bt::Batch batch_of(const Jets& jets, c10::Device device) {
  std::vector<std::int64_t> real(static_cast<std::size_t>(jets.count));
  for (std::int64_t jet = 0; jet < jets.count; ++jet) real[static_cast<std::size_t>(jet)] = jets.real_of(jet);
  const at::Tensor mask =
      at::arange(jets.particles).unsqueeze(0).lt(at::tensor(real, at::kLong).unsqueeze(1)).to(device);
  bt::Batch batch;
  batch.tensors = {
      {"points", normal({jets.count, jets.particles, 2}, 0, device).mul(mask.unsqueeze(2))},
      {"features", normal({jets.count, jets.particles, jets.features}, 1, device).mul(mask.unsqueeze(2))},
      {"mask", mask},
      {"label", at::arange(jets.count).remainder(jets.classes).to(device)}};
  batch.sample_ids = at::arange(jets.count);
  batch.global_samples = jets.count;
  return batch;
}

ParticleNetTraining::ParticleNetTraining(const Jets& jets, c10::Device device,
                                         bt::device::Precision precision, Enqueued enqueued)
    : precision_(precision),
      model_(network_for(jets, device)),
      engine_(model_, bt::comm::Communicator::self()),
      optimizer_(engine_),
      network_{"particlenet", &engine_, &optimizer_},
      number_in_memory_(device),
      refusals_(std::make_shared<Refusals>()),
      captured_(bt::train::CudaGraph::on, graphs_of(device, enqueued), bt::Logger(refusals_)),
      objective_(bt::train::classification()),
      batch_(batch_of(jets, device)) {
  model_->train();
  if (enqueued != Enqueued::singly) require_capture();
}

/// Beyond the steps that every shape is enqueued singly.
void ParticleNetTraining::require_capture() {
  for (std::int64_t i = 0; i <= bt::train::CapturedSteps::kWarmUps; ++i) step();
  if (!repeated_) throw std::runtime_error(refusals_->last);
}

void ParticleNetTraining::step() {
  const bt::device::PrecisionGuard guard(precision_, engine_.device().type());
  const bt::optim::StepOptions update{.check_finite = true, .counts_left_out = true};
  number_in_memory_.write(number_);
  const auto repeated = captured_.run({.network = network_,
                                       .objective = objective_,
                                       .batch = batch_,
                                       .update = update,
                                       .seed = 1,
                                       .number = number_,
                                       .number_in_memory = number_in_memory_.tensor()});
  repeated_ = repeated.has_value();
  if (repeated) {
    ++number_;
    optimizer_.conclude();
    loss_ = bt::device::LateCopy(repeated->losses.total);
    return;
  }
  const bt::nn::StepContext context(1, number_++, batch_.sample_ids, number_in_memory_.tensor());
  const auto result =
      engine_.run({.batch = batch_, .objective = objective_, .global_samples = batch_.global_samples});
  engine_.finish();
  optimizer_.step(update);
  loss_ = bt::device::LateCopy(result.losses.total);
}

}  // namespace gpu_bench
