// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/models/particle_net.hpp"
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
                  std::int64_t particles, std::int64_t real)
      : device_(device),
        precision_(precision),
        mask_(at::arange(particles).lt(real).expand({jets, particles}).contiguous().to(device)),
        points_(normal({jets, particles, 2}, 0, device).mul(mask_.unsqueeze(2))),
        features_(normal({jets, particles, 7}, 1, device).mul(mask_.unsqueeze(2))),
        labels_(at::arange(jets).remainder(2).to(device)),
        ids_(at::arange(jets)) {
    model_->to(device);
    parallel_.emplace(model_, bt::comm::Communicator::self());
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
  bt::models::ParticleNet model_;
  at::Tensor mask_, points_, features_, labels_, ids_;
  std::optional<bt::parallel::DataParallel> parallel_;
  std::optional<bt::optim::AdamW> optimizer_;
  std::int64_t step_ = 0;
};

}  // namespace

std::vector<Case> particle_net_cases(const Bench& bench) {
  const c10::Device device = bench.device;
  const std::int64_t particles = bench.small ? 32 : 128;
  const std::int64_t real = bench.real > 0 ? std::min(bench.real, particles) : particles;
  const std::string padded = real < particles ? fmt::format(", {} of them real", real) : "";
  std::vector<Case> cases;
  for (const std::int64_t jets :
       bench.small ? std::vector<std::int64_t>{8, 4} : std::vector<std::int64_t>{1024, 128})
    for (const bt::device::Precision precision : precisions(device))
      cases.push_back({.row = "P1",
                       .what = fmt::format("ParticleNet training step, {} jets of {} particles{}", jets,
                                           particles, padded),
                       .precision = precision,
                       .samples = static_cast<double>(jets),
                       .unit = "jets",
                       .prepare = [=] {
                         const auto step =
                             std::make_shared<ParticleNetStep>(device, precision, jets, particles, real);
                         return Work{[step] { (*step)(); }};
                       }});
  return cases;
}

}  // namespace gpu_bench
