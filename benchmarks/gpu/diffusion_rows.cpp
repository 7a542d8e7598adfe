// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_diffusion.hpp"
#include "rows.hpp"

namespace gpu_bench {

namespace bt = bunchtrain;

namespace {

/// A whole step as the trainer takes it: noise, forward, backward, update.
class DiffusionStep {
 public:
  DiffusionStep(c10::Device device, bt::device::Precision precision,
                const bt::models::CaloDiffusionOptions& options, std::int64_t showers)
      : device_(device), precision_(precision), network_(options) {
    network_->to(device);
    parallel_.emplace(network_, bt::comm::Communicator::self());
    optimizer_.emplace(*parallel_);
    const at::Tensor image =
        normal({showers, options.cells[0], options.cells[1], options.cells[2]}, 0, device);
    batch_.tensors = {{"image", image * (image > 0.8)},  // four cells in five are empty
                      {"energy", normal({showers}, 1, device).abs() * 30 + 10}};
    batch_.sample_ids = at::arange(showers);
    batch_.global_samples = showers;
  }

  void operator()() {
    const bt::device::PrecisionGuard guard(precision_, device_.type());
    const bt::nn::StepContext context(1, step_++, batch_.sample_ids);
    parallel_->run({.batch = batch_, .objective = objective_, .global_samples = batch_.global_samples});
    parallel_->finish();
    optimizer_->step();
  }

 private:
  c10::Device device_;
  bt::device::Precision precision_;
  bt::models::CaloDiffusion network_;
  bt::nn::Objective objective_ = bt::shower_simulation::diffusion_objective();
  std::optional<bt::parallel::DataParallel> parallel_;
  std::optional<bt::optim::AdamW> optimizer_;
  bt::Batch batch_;
  std::int64_t step_ = 0;
};

}  // namespace

std::vector<Case> diffusion_cases(const Bench& bench) {
  auto options = bt::models::CaloDiffusionOptions::preset(bench.small ? "tiny" : "base");
  if (bench.small) {
    options.channels = {8, 16};
    options.cells = {9, 9, 9};
  }
  const std::int64_t showers = bench.small ? 2 : 64;
  std::vector<Case> cases;
  for (const bt::device::Precision precision : precisions(bench.device))
    cases.push_back({.row = "P10",
                     .what = fmt::format("calo-diffusion training step, {} showers of {}x{}x{}", showers,
                                         options.cells[0], options.cells[1], options.cells[2]),
                     .precision = precision,
                     .samples = static_cast<double>(showers),
                     .unit = "showers",
                     .prepare = [device = bench.device, precision, options, showers] {
                       const auto step = std::make_shared<DiffusionStep>(device, precision, options, showers);
                       return Work{[step] { (*step)(); }};
                     }});
  return cases;
}

}  // namespace gpu_bench
