// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <string>

#include "bunchtrain/nn/step_context.hpp"
#include "gan_parts.hpp"
#include "rows.hpp"

namespace gpu_bench {

namespace bt = bunchtrain;
using bt::models::ShowerVariant;

namespace {

/// The published step: discriminator on real and on fake showers, generator twice.
class ShowerGanStep {
 public:
  ShowerGanStep(c10::Device device, bt::device::Precision precision, ShowerVariant variant,
                std::int64_t showers)
      : device_(device),
        precision_(precision),
        gan_(variant, 0.2, device),
        batch_(gan_benchmark::random_batch(variant, showers, device)) {}

  void operator()() {
    const bt::device::PrecisionGuard guard(precision_, device_.type());
    const bt::nn::StepContext context(1, step_++, batch_.sample_ids);
    gan_.step()(batch_);
  }

 private:
  c10::Device device_;
  bt::device::Precision precision_;
  gan_benchmark::GanParts gan_;
  bt::Batch batch_;
  std::int64_t step_ = 0;
};

struct Size {
  ShowerVariant variant;
  const char* grid;
  std::int64_t showers, few;
};

}  // namespace

std::vector<Case> shower_gan_cases(const Bench& bench) {
  std::vector<Case> cases;
  for (const Size& size : {Size{ShowerVariant::fixed_angle, "25x25x25", 128, 2},
                           Size{ShowerVariant::variable_angle, "51x51x25", 64, 1}})
    for (const bt::device::Precision precision : precisions(bench.device)) {
      const std::int64_t showers = bench.small ? size.few : size.showers;
      cases.push_back({.row = "P5",
                       .what = fmt::format("3DGAN step, {} showers of {}", showers, size.grid),
                       .precision = precision,
                       .samples = static_cast<double>(showers),
                       .unit = "showers",
                       .prepare = [device = bench.device, precision, variant = size.variant, showers] {
                         const auto step =
                             std::make_shared<ShowerGanStep>(device, precision, variant, showers);
                         return Work{[step] { (*step)(); }};
                       }});
    }
  return cases;
}

}  // namespace gpu_bench
