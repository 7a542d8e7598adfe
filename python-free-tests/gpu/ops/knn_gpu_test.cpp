// SPDX-License-Identifier: Apache-2.0
// On a GPU kNN finds the very indices and distances that it finds on the CPU.
#include <ATen/TensorOperators.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>

#include <limits>

#include "bunchtrain/ops/knn.hpp"
#include "bunchtrain/ops/ragged_knn.hpp"
#include "unit/ops/tensor_helpers.hpp"

namespace bunchtrain::test {
namespace {

void expect_same_as_cpu(const at::Tensor& points, const std::optional<at::Tensor>& mask_or_counts,
                        std::int64_t k) {
  const ops::KnnOptions options{.k = k, .squared_distances = true};
  const auto cpu = ops::knn(points, mask_or_counts, options);
  std::optional<at::Tensor> on_gpu;
  if (mask_or_counts) on_gpu = mask_or_counts->cuda();
  const auto gpu = ops::knn(points.cuda(), on_gpu, options);
  EXPECT_TRUE(gpu.indices.cpu().equal(cpu.indices)) << points.sizes() << ", k " << k;
  EXPECT_TRUE(gpu.squared_distances.cpu().allclose(cpu.squared_distances, 0, 0, /*equal_nan=*/true))
      << points.sizes() << ", k " << k;
}

TEST(KnnGpuTest, FindsWhatTheCpuFinds) {
  for (const auto type : {at::kFloat, at::kDouble})
    for (const std::int64_t dims : {1, 2, 3, 8, 9, 16, 64, 128})
      for (const std::int64_t k : {1, 8, 16, 32, 50, 129})
        for (const std::int64_t points : {17, 128, 130})
          if (k < points) expect_same_as_cpu(normal_tensor({5, points, dims}, 1, type), std::nullopt, k);
}

TEST(KnnGpuTest, KeepsTiesMasksAndCounts) {
  for (const std::int64_t dims : {2, 12}) {
    const at::Tensor grid = integer_tensor({41, 40, dims}, 3, 2);
    const at::Tensor counts = at::arange(41, at::kLong);
    expect_same_as_cpu(grid, std::nullopt, 16);
    expect_same_as_cpu(grid, counts, 16);
    expect_same_as_cpu(grid, normal_tensor({41, 40}, 3).gt(0).contiguous(), 16);
    expect_same_as_cpu(at::full({2, 40, dims}, 0.1F), std::nullopt, 39);
  }
}

TEST(KnnGpuTest, ServesMoreSetsThanAGridHolds) {
  expect_same_as_cpu(normal_tensor({70000, 3, 2}, 4), std::nullopt, 2);
}

TEST(KnnGpuTest, TakesCountsOutOfRangeAsTheNearestAllowed) {
  const at::Tensor points = normal_tensor({2, 20, 2}, 5);
  const auto expected = ops::knn(points, at::tensor({0, 20}, at::kInt), {.k = 4}).indices;
  const auto found = ops::knn(points.cuda(), at::tensor({-3, 99}, at::kInt).cuda(), {.k = 4}).indices;
  EXPECT_TRUE(found.cpu().equal(expected));
}

void expect_ragged_same_as_cpu(const at::Tensor& points, const at::Tensor& row_splits, std::int64_t k) {
  const ops::KnnOptions options{.k = k, .squared_distances = true};
  const auto cpu = ops::ragged_knn(points, row_splits, options);
  for (const at::Tensor& splits : {row_splits, row_splits.cuda()}) {
    const auto gpu = ops::ragged_knn(points.cuda(), splits, options);
    EXPECT_TRUE(gpu.indices.cpu().equal(cpu.indices)) << points.sizes() << ", k " << k;
    EXPECT_TRUE(gpu.squared_distances.cpu().allclose(cpu.squared_distances, 0, 0, /*equal_nan=*/true));
  }
}

TEST(RaggedKnnGpuTest, FindsWhatTheCpuFinds) {
  const at::Tensor splits = at::tensor({0, 0, 1, 3, 40, 40, 300, 5000, 20'000}, at::kLong);
  for (const std::int64_t dims : {1, 2, 3, 4, 5, 8})
    for (const std::int64_t k : {1, 16, 40, 64})
      expect_ragged_same_as_cpu(normal_tensor({20'000, dims}, 8), splits, k);
  at::Tensor grid = integer_tensor({20'000, 3}, 9, 9);
  grid[3].fill_(std::numeric_limits<float>::quiet_NaN());
  grid[100][1] = std::numeric_limits<float>::infinity();
  expect_ragged_same_as_cpu(grid, splits, 40);
  expect_ragged_same_as_cpu(at::full({20'000, 3}, 0.1F), splits, 16);
}

TEST(RaggedKnnGpuTest, TakesSplitsOutOfOrderAsTheNearestAllowed) {
  const at::Tensor points = normal_tensor({50, 2}, 10);
  const auto expected = ops::ragged_knn(points, at::tensor({0, 20, 20, 50}, at::kLong), {.k = 4}).indices;
  const at::Tensor splits = at::tensor({-4, 20, 7, 90}, at::kLong).cuda();
  EXPECT_TRUE(ops::ragged_knn(points.cuda(), splits, {.k = 4}).indices.cpu().equal(expected));
}

TEST(KnnGpuTest, CanBeCapturedInAGraph) {
  const at::Tensor points = normal_tensor({8, 64, 2}, 6).cuda();
  ops::knn(points, std::nullopt, {.k = 16});  // loads the kernels
  const c10::cuda::CUDAStreamGuard side(c10::cuda::getStreamFromPool());
  at::cuda::CUDAGraph graph;
  graph.capture_begin();
  const at::Tensor indices = ops::knn(points, std::nullopt, {.k = 16}).indices;
  graph.capture_end();
  const at::Tensor other = normal_tensor({8, 64, 2}, 7);
  points.copy_(other);
  graph.replay();
  EXPECT_TRUE(indices.cpu().equal(ops::knn(other, std::nullopt, {.k = 16}).indices));
}

}  // namespace
}  // namespace bunchtrain::test
