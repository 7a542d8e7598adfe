// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/step_scalars.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::device {
namespace {

const c10::Device kCpu(c10::kCPU);

struct Rates {
  float first, second;
  double third;
};

TEST(StepScalarsTest, KernelsOfTheCpuReadWhatWasSet) {
  StepScalars scalars(kCpu);
  const auto rate = scalars.add<double>();
  const auto key = scalars.add<std::uint64_t>();
  const auto rates = scalars.add<Rates>();
  EXPECT_EQ(*scalars.address(rate), 0);
  scalars.set(rate, 0.25);
  scalars.set(key, ~std::uint64_t{0});
  scalars.set(rates, {1.5F, 2.5F, 3.5});
  const double* const address = scalars.address(rate);
  EXPECT_EQ(*address, 0.25);
  EXPECT_EQ(*scalars.address(key), ~std::uint64_t{0});
  EXPECT_EQ(scalars.address(rates)->third, 3.5);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(scalars.address(rates)) % 16, 0U);
  scalars.set(rate, 0.5);
  EXPECT_EQ(scalars.address(rate), address);
  EXPECT_EQ(*address, 0.5);
  EXPECT_EQ(scalars.get(rate), 0.5);
}

TEST(StepScalarsTest, AStepUploadsOnceAndOnlyWhatChanged) {
  StepScalars scalars(kCpu);
  const auto rate = scalars.add<double>();
  const auto count = scalars.add<double>();
  scalars.set(rate, 1.0);
  scalars.set(count, 64.0);
  scalars.upload();
  scalars.upload();
  EXPECT_EQ(scalars.uploads(), 1);
  scalars.set(count, 64.0);
  scalars.upload();
  EXPECT_EQ(scalars.uploads(), 1);
  scalars.set(count, 63.0);
  scalars.set(rate, 0.5);
  scalars.upload();
  EXPECT_EQ(scalars.uploads(), 2);
}

TEST(StepScalarsTest, ViewsAreOfTheSameMemory) {
  StepScalars scalars(kCpu);
  scalars.add<double>();
  const auto counts = scalars.add<std::array<double, 3>>();
  const at::Tensor view = scalars.view(counts);
  scalars.set(counts, {1, 2, 3});
  ASSERT_EQ(view.numel(), 3);
  EXPECT_EQ(view.const_data_ptr<double>()[2], 3);
}

TEST(StepScalarsTest, MoreSlotsThanThereWasRoomForKeepWhatWasSet) {
  StepScalars scalars(kCpu);
  std::vector<StepScalar<double>> slots;
  for (int i = 0; i < 500; ++i) {
    slots.push_back(scalars.add<double>());
    scalars.set(slots.back(), double(i));
  }
  for (int i = 0; i < 500; ++i) EXPECT_EQ(*scalars.address(slots[static_cast<std::size_t>(i)]), i);
}

TEST(StepScalarsTest, SlotsOfOthersAreRefused) {
  StepScalars scalars(kCpu), others(kCpu);
  others.add<double>();
  const auto slot = others.add<double>();
  EXPECT_THROW(scalars.set(slot, 1.0), ConfigError);
  EXPECT_THROW(scalars.get(slot), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::device
