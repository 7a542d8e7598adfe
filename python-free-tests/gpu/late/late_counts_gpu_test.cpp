// SPDX-License-Identifier: Apache-2.0
// Counts of a step on a GPU: checked in every step, one step late, on all ranks.
#include <gmock/gmock.h>

#include <chrono>
#include <memory>

#include "mpi/parallel/parallel_fixture.hpp"

namespace bunchtrain::parallel {
namespace {

using testing::HasSubstr;

class LateCountsGpuTest : public testing::Test {
 protected:
  void TearDown() override { communicator_.close(); }
  int world() const { return communicator_.size(); }
  void backward(const PassOptions& counts) {
    parallel_.backward(net_->loss(rows(communicator_.rank(), 1).to(kGpu)), counts);
  }

  const c10::Device kGpu{c10::kCUDA, 0};
  comm::Communicator communicator_ = comm::Communicator::create(
      test_world(), kGpu, {.backend = comm::Backend::mpi, .timeout = std::chrono::seconds(60)});
  std::shared_ptr<Mlp> net_ = std::make_shared<Mlp>();
  DataParallel parallel_{net_, communicator_, {.device = kGpu}};
};

TEST_F(LateCountsGpuTest, AreCheckedInTheStepThatFollows) {
  for (int step = 0; step < 5; ++step) backward({.samples = 1, .global_samples = world()});
  EXPECT_NO_THROW(backward({.samples = 1, .global_samples = world() + 3}));
  EXPECT_THAT(refusal([&] { backward({.samples = 1, .global_samples = world()}); }),
              HasSubstr("global_samples says"));
  EXPECT_NO_THROW(backward({.samples = 1, .global_samples = world()})) << "said once";
}

TEST_F(LateCountsGpuTest, AreCheckedBeforeBuffersAreCombined) {
  backward({.samples = 1, .global_samples = world() + (communicator_.rank() == 0 ? 1 : 0)});
  EXPECT_THAT(refusal([&] { parallel_.synchronize_buffers(1); }), HasSubstr("disagree"));
  EXPECT_NO_THROW(parallel_.synchronize_buffers(1));
}

TEST_F(LateCountsGpuTest, ExposedTimeIsTheDevices) {
  backward({.samples = 1, .global_samples = world()});
  const double first = parallel_.exposed_seconds();
  EXPECT_GT(first, 0);
  backward({.samples = 1, .global_samples = world()});
  EXPECT_NEAR(parallel_.total_exposed().value(), first + parallel_.exposed_seconds(), 1e-9);
}

}  // namespace
}  // namespace bunchtrain::parallel
