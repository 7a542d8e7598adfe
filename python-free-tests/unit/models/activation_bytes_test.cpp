// SPDX-License-Identifier: Apache-2.0
// The predicted memory of a training step against the peak that LibTorch's allocator saw.
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <atomic>

#include "bunchtrain/models/particle_net.hpp"

namespace bunchtrain::models {
namespace {

/// Passes on to LibTorch's own allocator and remembers how much was in use at most.
class PeakAllocator : public c10::Allocator {
 public:
  PeakAllocator() : inner_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, /*priority=*/1); }

  c10::DataPtr allocate(std::size_t bytes) override {
    const std::size_t now = in_use.fetch_add(bytes) + bytes;
    std::size_t before = peak.load();
    while (now > before && !peak.compare_exchange_weak(before, now)) {
    }
    auto* block = new Block{inner_->allocate(bytes), bytes};
    return {block->memory.get(), block, &release, at::kCPU};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }

  static inline std::atomic<std::size_t> in_use = 0, peak = 0;

 private:
  struct Block {
    c10::DataPtr memory;
    std::size_t bytes;
  };
  static void release(void* pointer) {
    const std::unique_ptr<Block> block(static_cast<Block*>(pointer));
    in_use -= block->bytes;
  }
  c10::Allocator* inner_;
};

/// Bytes above what was in use before, at the worst moment of a step.
double measured_peak(ParticleNet net, std::int64_t jets, std::int64_t particles) {
  static PeakAllocator allocator;  // stays in place: tensors made with it outlive any scope
  const at::Tensor points = at::rand({jets, particles, 2}), features = at::rand({jets, particles, 7});
  const at::Tensor mask = at::ones({jets, particles}, at::kBool), label = at::zeros({jets}, at::kLong);
  const std::size_t before = PeakAllocator::in_use;
  PeakAllocator::peak = before;
  at::cross_entropy_loss(net->forward(points, features, mask), label).backward();
  return static_cast<double>(PeakAllocator::peak - before);
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
