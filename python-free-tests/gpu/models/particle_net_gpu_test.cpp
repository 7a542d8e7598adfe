// SPDX-License-Identifier: Apache-2.0
// ParticleNet on a GPU in every precision against float64 on the CPU: forward, gradients, three updates.
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <gtest/gtest.h>

#include "bunchtrain/models/particle_net.hpp"
#include "gpu/device_under_test.hpp"
#include "trial.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::test {
namespace {

constexpr std::int64_t kJets = 16, kSlots = 40;

/// Jets of 20 to 40 particles.
struct Jets {
  at::Tensor points, features, mask, labels;
  Jets(c10::Device device, at::ScalarType type) {
    const at::Tensor particles = at::arange(kJets).mul(7).remainder(21) + 20;
    mask = at::arange(kSlots).unsqueeze(0).lt(particles.unsqueeze(1));
    points = nn::random_normal({kJets, kSlots, 2}, 1).mul(mask.unsqueeze(2)).to(type).to(device);
    features = nn::random_normal({kJets, kSlots, 7}, 2).mul(mask.unsqueeze(2)).to(type).to(device);
    labels = at::arange(kJets).remainder(2).to(device);
    mask = mask.to(device);
  }
};

Trial run(c10::Device device, at::ScalarType type, const Numerics& numerics) {
  const Jets jets(device, type);
  models::ParticleNet model;
  model->to(device, type);
  return run_trial(model.ptr(), device, numerics,
                   {.learning_rate = 0.02, .samples = kJets, .loss_scale = 1024}, [&] {
                     const at::Tensor logits = model->forward(jets.points, jets.features, jets.mask);
                     return PassResult{logits, at::cross_entropy_loss(logits.to(type), jets.labels)};
                   });
}

/// Reduced precision may choose another neighbour where two are about as far: that is in the numbers. On a
/// CPU: float32 3e-7, 7e-7, 6e-4; bfloat16 4e-3, 0.12, 0.08; float16 7e-4, 0.03, 0.03.
constexpr Numerics kNumerics[] = {
    {"float32", device::Precision::float32, 1e-5, 1e-3, 5e-3},
    {"tf32", device::Precision::tf32, 1e-2, 0.2, 0.2},
    {"bfloat16", device::Precision::bfloat16, 3e-2, 0.4, 0.4},
    {"float16", device::Precision::float16, 1e-2, 0.2, 0.2},
};

class ParticleNetGpuTest : public testing::TestWithParam<Numerics> {};

TEST_P(ParticleNetGpuTest, TrainsAsFloat64OnTheCpuDoes) {
  static const Trial expected = run(c10::kCPU, at::kDouble, {"float64", device::Precision::float64});
  const c10::Device device = device_under_test();
  if (!runs_on(GetParam(), device)) return;
  const Trial found = run(device, at::kFloat, GetParam());
  expect_close(found, expected, GetParam());
}

TEST_P(ParticleNetGpuTest, TwoRunsGiveTheSameBits) {
  const c10::Device device = device_under_test();
  if (!runs_on(GetParam(), device)) return;
  const Trial first = run(device, at::kFloat, GetParam()), second = run(device, at::kFloat, GetParam());
  for (std::size_t i = 0; i < first.change.size(); ++i)
    EXPECT_TRUE(second.change[i].equal(first.change[i])) << first.names[i];
}

TEST_P(ParticleNetGpuTest, SaysWhichBlocksGoThroughOperations) {
  const c10::Device device = device_under_test();
  if (!runs_on(GetParam(), device)) return;
  const device::PrecisionGuard guard(GetParam().precision, device.type());
  const std::vector<std::string> lines = models::ParticleNet()->blocks_by_operations(kSlots, device);
  if (device.is_cpu()) {
    EXPECT_TRUE(lines.empty());
  } else if (GetParam().precision == device::Precision::float16) {
    EXPECT_EQ(lines.size(), 3U);
  } else {
    for (const std::string& line : lines) EXPECT_NE(line.find("shared memory"), std::string::npos) << line;
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, ParticleNetGpuTest, testing::ValuesIn(kNumerics),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace bunchtrain::test
