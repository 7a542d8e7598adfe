// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/late_copy.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/device_time.hpp"

namespace bunchtrain::device {
namespace {

using testing::ElementsAre;

const c10::Device kCpu(c10::kCPU);

TEST(LateCopyTest, OnTheCpuItIsThereAtOnceAndStaysAsItWas) {
  at::Tensor numbers = at::tensor({1.5, -2.0, 3.25}, at::kDouble);
  const LateCopy copy(numbers);
  numbers.fill_(7);
  EXPECT_TRUE(copy.ready());
  EXPECT_THAT(copy.values(), ElementsAre(1.5, -2.0, 3.25));
  const LateCopy shared = copy;
  EXPECT_EQ(shared.values().data(), copy.values().data());
}

TEST(LateCopyTest, TakesScalarsGraphsOtherTypesAndStrides) {
  const at::Tensor scalar = at::tensor(0.5, at::kFloat).requires_grad_();
  EXPECT_THAT(LateCopy(scalar * 2).values(), ElementsAre(1.0));
  EXPECT_THAT(LateCopy(at::arange(6, at::kLong).view({2, 3}).t()).values(), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(LateCopy(at::empty({0})).values(), ElementsAre());
}

TEST(LateCopyTest, WithoutATensorThereIsNothing) {
  EXPECT_TRUE(LateCopy().empty());
  EXPECT_TRUE(LateCopy().ready());
  EXPECT_TRUE(LateCopy().values().empty());
  EXPECT_THROW(LateCopy(at::Tensor()), ConfigError);
}

TEST(DeviceTimeTest, OnTheCpuTheClockSaysIt) {
  const Moment begin(kCpu);
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  const Moment end(kCpu);
  EXPECT_TRUE(end.passed());
  EXPECT_GE(end.seconds_since(begin), 3e-3);
  EXPECT_LE(begin.seconds_since(end), -3e-3);
}

TEST(DeviceTimeTest, SumsAddUp) {
  const Moment begin(kCpu);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const Moment end(kCpu);
  const double once = end.seconds_since(begin);
  LateSeconds sum, other;
  EXPECT_EQ(sum.value(), 0);
  sum.add(begin, end);
  sum.add(1.0);
  other.add(begin, end);
  sum.add(other);
  EXPECT_TRUE(sum.ready());
  EXPECT_DOUBLE_EQ(sum.value(), 1 + 2 * once);
}

}  // namespace
}  // namespace bunchtrain::device
