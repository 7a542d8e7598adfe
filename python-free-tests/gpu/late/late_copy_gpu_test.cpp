// SPDX-License-Identifier: Apache-2.0
// Numbers and times of a GPU that runs behind the host.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/device/late_copy.hpp"
#include "gpu/nn/no_synchronisation.hpp"

namespace bunchtrain::device {
namespace {

const c10::Device kGpu(c10::kCUDA, 0);
const at::TensorOptions kOnGpu = at::TensorOptions(kGpu).dtype(at::kFloat);

/// Work of some milliseconds; its numbers are all `size`.
at::Tensor enqueue_work(std::int64_t size = 4096) {
  at::Tensor product = at::ones({size, size}, kOnGpu);
  for (int i = 0; i < 8; ++i)
    product = at::mm(product, at::ones({size, size}, kOnGpu)) / static_cast<double>(size);
  return product * static_cast<double>(size);
}

TEST(LateCopyGpuTest, TakesTheNumbersBehindTheWorkThatMakesThem) {
  enqueue_work();  // libraries are loaded
  const test::NoSynchronisation guard;
  at::Tensor numbers = enqueue_work().slice(0, 0, 2).slice(1, 0, 2);
  const LateCopy copy(numbers);
  numbers.fill_(-1);
  EXPECT_THAT(copy.values(), testing::ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_TRUE(copy.ready());
}

TEST(LateCopyGpuTest, ManyInFlightKeepTheirNumbers) {
  const test::NoSynchronisation guard;
  std::vector<LateCopy> copies;
  for (int i = 0; i < 1000; ++i) copies.emplace_back(at::full({1}, i, kOnGpu));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(copies[static_cast<std::size_t>(i)].values()[0], i);
}

TEST(DeviceTimeGpuTest, CountsWhatTheDeviceWorksAndNotTheHost) {
  enqueue_work();
  const test::NoSynchronisation guard;
  const Moment begin(kGpu);
  enqueue_work();
  const Moment middle(kGpu);
  enqueue_work(64);
  const Moment end(kGpu);
  LateSeconds large, small;
  large.add(begin, middle);
  small.add(middle, end);
  EXPECT_GT(large.value(), 0);
  EXPECT_GT(small.value(), 0);
  EXPECT_TRUE(large.ready() && small.ready());
  EXPECT_NEAR(large.value() + small.value(), end.seconds_since(begin), 1e-5);
}

}  // namespace
}  // namespace bunchtrain::device
