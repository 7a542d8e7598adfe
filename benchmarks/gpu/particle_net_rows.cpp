// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "rows.hpp"

namespace gpu_bench {

namespace bt = bunchtrain;

namespace {

/// A whole step as the trainer takes it: forward, backward, update.
class ParticleNetStep {
 public:
  ParticleNetStep(c10::Device device, bt::device::Precision precision, std::int64_t jets,
                  std::int64_t particles)
      : device_(device),
        precision_(precision),
        model_(bt::models::create("particlenet", {})),
        points_(normal({jets, particles, 2}, 0, device)),
        features_(normal({jets, particles, 7}, 1, device)),
        mask_(at::ones({jets, particles}, at::TensorOptions(at::kBool).device(device))),
        labels_(at::arange(jets).remainder(2).to(device)),
        ids_(at::arange(jets)) {
    model_->module()->to(device);
    parallel_.emplace(model_->module(), bt::comm::Communicator::self());
    optimizer_.emplace(*parallel_);
  }

  void operator()() {
    const bt::device::PrecisionGuard guard(precision_, device_.type());
    const bt::nn::StepContext context(1, step_++, ids_);
    const at::Tensor logits = model_->forward(points_, features_, mask_);
    parallel_->backward(at::cross_entropy_loss(logits.to(at::kFloat), labels_), {.samples = labels_.size(0)});
    optimizer_->step();
  }

 private:
  c10::Device device_;
  bt::device::Precision precision_;
  std::unique_ptr<bt::models::ParticleCloudModel> model_;
  at::Tensor points_, features_, mask_, labels_, ids_;
  std::optional<bt::parallel::DataParallel> parallel_;
  std::optional<bt::optim::AdamW> optimizer_;
  std::int64_t step_ = 0;
};

}  // namespace

std::vector<Case> particle_net_cases(const Bench& bench) {
  const c10::Device device = bench.device;
  const std::int64_t particles = bench.small ? 32 : 128;
  std::vector<Case> cases;
  for (const std::int64_t jets :
       bench.small ? std::vector<std::int64_t>{8, 4} : std::vector<std::int64_t>{1024, 128})
    for (const bt::device::Precision precision : precisions(device))
      cases.push_back(
          {.row = "P1",
           .what = fmt::format("ParticleNet training step, {} jets of {} particles", jets, particles),
           .precision = precision,
           .samples = static_cast<double>(jets),
           .unit = "jets",
           .prepare = [=] {
             const auto step = std::make_shared<ParticleNetStep>(device, precision, jets, particles);
             return Work{[step] { (*step)(); }};
           }});
  return cases;
}

}  // namespace gpu_bench
