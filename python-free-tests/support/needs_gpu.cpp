// SPDX-License-Identifier: Apache-2.0
// Part of every program with the label gpu: started where no GPU can be used, it skips all its tests and says
// why. With BUNCHTRAIN_TEST_DEVICE=cpu the tests are tried without one (gpu/device_under_test.hpp).

#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "bunchtrain/device/detail/gpu_situation.hpp"

namespace {

using namespace bunchtrain;

class NeedsGpu : public testing::Environment {
 public:
  void SetUp() override {
    const char* wish = std::getenv("BUNCHTRAIN_TEST_DEVICE");
    if (wish && std::string_view(wish) == "cpu") return;
    const auto choice = device::judge_device(device::DeviceRequest::automatic, 0, device::observe_gpus());
    if (choice.device.is_cuda()) return;
    GTEST_SKIP() << "these tests need a GPU, and there is none that can be used here"
                 << (choice.notice.empty() ? "" : ": ") << choice.notice;
  }
};

// Owned by GoogleTest.
[[maybe_unused]] const auto* const kNeedsGpu = testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace
