// SPDX-License-Identifier: Apache-2.0
// The predicted memory of a training step against the peak that LibTorch's allocator saw.
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "bunchtrain/models/particle_net.hpp"
#include "support/peak_allocator.hpp"

namespace bunchtrain::models {
namespace {

double measured_peak(ParticleNet net, std::int64_t jets, std::int64_t particles) {
  const at::Tensor points = at::rand({jets, particles, 2}), features = at::rand({jets, particles, 7});
  const at::Tensor mask = at::ones({jets, particles}, at::kBool), label = at::zeros({jets}, at::kLong);
  return test::peak_bytes(
      [&] { at::cross_entropy_loss(net->forward(points, features, mask), label).backward(); });
}

struct Case {
  const char* name;
  ParticleNetOptions options;
  bool recompute;
  std::int64_t jets, particles;
};

class ActivationBytesTest : public testing::TestWithParam<Case> {};

TEST_P(ActivationBytesTest, PeakIsWithinFifteenPercentBelowAndThirtyAbove) {
  ParticleNetOptions options = GetParam().options;
  options.recompute = GetParam().recompute;
  ParticleNet net(options);
  const double measured = measured_peak(net, GetParam().jets, GetParam().particles);
  const auto predicted =
      static_cast<double>(net->predicted_activation_bytes(GetParam().jets, GetParam().particles));
  EXPECT_GT(measured, 0.85 * predicted) << "measured " << measured << ", predicted " << predicted;
  EXPECT_LT(measured, 1.30 * predicted) << "measured " << measured << ", predicted " << predicted;
}

INSTANTIATE_TEST_SUITE_P(Models, ActivationBytesTest,
                         testing::Values(Case{"lite", ParticleNetOptions::lite(), false, 64, 64},
                                         Case{"lite_recompute", ParticleNetOptions::lite(), true, 64, 64},
                                         Case{"full", {}, false, 32, 64},
                                         Case{"full_recompute", {}, true, 32, 64}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace bunchtrain::models
