// SPDX-License-Identifier: Apache-2.0
// The runtime itself: what CUDA defines works, what it leaves undefined is an error.
#include "host_cuda.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bunchtrain/device/detail/launch.cuh>
#include <string>
#include <vector>

#include "guarded_buffer.hpp"

namespace bunchtrain::host_cuda {
namespace {

using device::launch;
using testing::HasSubstr;

constexpr unsigned kAll = 0xFFFFFFFFu;

std::string misuse_of(void (*kernel)(int*), dim3 block, std::size_t shared_bytes = 0) {
  std::vector<int> memory(1024, 0);
  try {
    launch(kernel, {dim3{1}, block, shared_bytes}, nullptr, memory.data());
  } catch (const Misuse& misuse) {
    return misuse.what();
  }
  return "no misuse";
}

// ---- what must work

__global__ void write_coordinates(unsigned* out) {
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += block * 1000 + thread;
}

TEST(HostCudaTest, RunsEveryThreadOfEveryBlockOnce) {
  std::vector<unsigned> out(12 * 60, 0);
  launch(write_coordinates, {dim3{3, 2, 2}, dim3{5, 4, 3}}, nullptr, out.data());
  for (unsigned block = 0; block < 12; ++block)
    for (unsigned thread = 0; thread < 60; ++thread)
      ASSERT_EQ(out[block * 60 + thread], block * 1000 + thread);
}

__global__ void sum_block(const int* values, int* sum) {
  __shared__ int warp_sums[8];
  int value = values[blockIdx.x * blockDim.x + threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_down_sync(kAll, value, static_cast<unsigned>(offset));
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    int total = 0;
    for (int sum_of_warp : warp_sums) total += sum_of_warp;
    atomicAdd(sum, total);
  }
}

TEST(HostCudaTest, ReducesABlockWithShufflesAndABarrier) {
  std::vector<int> values(4 * 256);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int>(i);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    set_seed(seed);
    int sum = 0;
    launch(sum_block, {dim3{4}, dim3{256}}, nullptr, values.data(), &sum);
    EXPECT_EQ(sum, 1023 * 1024 / 2);
  }
}

__global__ void shuffle_all_ways(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* row = out + lane * 6;
  row[0] = __shfl_sync(kAll, lane, 3, 8);
  row[1] = __shfl_up_sync(kAll, lane, 2, 16);
  row[2] = __shfl_down_sync(kAll, lane, 5);
  row[3] = __shfl_xor_sync(kAll, lane, 1);
  row[4] = static_cast<int>(__ballot_sync(kAll, lane % 3 == 0));
  row[5] = __any_sync(kAll, lane == 7) + 2 * __all_sync(kAll, lane < 31);
}

TEST(HostCudaTest, ShufflesAndVotesAsCudaDoes) {
  std::vector<int> out(32 * 6);
  launch(shuffle_all_ways, {dim3{1}, dim3{32}}, nullptr, out.data());
  unsigned votes = 0;
  for (unsigned l = 0; l < 32; l += 3) votes |= 1u << l;
  for (int lane = 0; lane < 32; ++lane) {
    const int* row = out.data() + lane * 6;
    EXPECT_EQ(row[0], lane / 8 * 8 + 3);
    EXPECT_EQ(row[1], lane % 16 < 2 ? lane : lane - 2);
    EXPECT_EQ(row[2], lane > 26 ? lane : lane + 5);
    EXPECT_EQ(row[3], lane ^ 1);
    EXPECT_EQ(static_cast<unsigned>(row[4]), votes);
    EXPECT_EQ(row[5], 1);
  }
}

__global__ void two_halves(int* out) {
  const unsigned lane = threadIdx.x;
  const unsigned mask = lane < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  const double value = lane < 16 ? __shfl_sync(mask, lane + 0.5, 2) : __shfl_sync(mask, lane + 0.5, 20);
  out[lane] = static_cast<int>(value * 2);
}

TEST(HostCudaTest, LetsPartsOfAWarpWorkApart) {
  std::vector<int> out(32);
  launch(two_halves, {dim3{1}, dim3{32}}, nullptr, out.data());
  for (std::size_t lane = 0; lane < 32; ++lane) EXPECT_EQ(out[lane], lane < 16 ? 5 : 41);
}

__global__ void reverse_in_shared(int* values) {
  int* shared = device::dynamic_shared<int>();
  shared[threadIdx.x] = values[threadIdx.x];
  __syncthreads();
  values[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

TEST(HostCudaTest, HasDynamicSharedMemory) {
  std::vector<int> values{1, 2, 3, 4, 5};
  launch(reverse_in_shared, {dim3{1}, dim3{5}, 5 * sizeof(int)}, nullptr, values.data());
  EXPECT_EQ(values, (std::vector<int>{5, 4, 3, 2, 1}));
}

__global__ void list_blocks(unsigned* blocks, unsigned* count) { blocks[(*count)++] = blockIdx.x; }

TEST(HostCudaTest, RunsBlocksInEveryOrder) {
  const auto order_of = [](BlockOrder order) {
    set_block_order(order);
    std::vector<unsigned> blocks(50);
    unsigned count = 0;
    launch(list_blocks, {dim3{50}, dim3{1}}, nullptr, blocks.data(), &count);
    set_block_order(BlockOrder::ascending);
    EXPECT_EQ(count, 50U);
    return blocks;
  };
  const std::vector<unsigned> ascending = order_of(BlockOrder::ascending);
  EXPECT_TRUE(std::is_sorted(ascending.begin(), ascending.end()));
  EXPECT_EQ(order_of(BlockOrder::descending), std::vector<unsigned>(ascending.rbegin(), ascending.rend()));
  const std::vector<unsigned> random = order_of(BlockOrder::random);
  EXPECT_NE(random, ascending);
  EXPECT_THAT(random, testing::UnorderedElementsAreArray(ascending));
}

TEST(HostCudaTest, GivesMoreSharedMemoryIfAsked) {
  std::vector<int> values{1, 2, 3};
  launch(reverse_in_shared,
         {.grid = dim3{1}, .block = dim3{3}, .shared_bytes = 200 * 1024, .large_shared = true}, nullptr,
         values.data());
  EXPECT_EQ(values, (std::vector<int>{3, 2, 1}));
}

TEST(HostCudaTest, StartsNothingForAnEmptyGrid) {
  launch(reverse_in_shared, {dim3{0}, dim3{5}}, nullptr, nullptr);
}

// ---- what must be found

__global__ void forget_the_barrier(int* out) {
  int* shared = device::dynamic_shared<int>();
  shared[threadIdx.x] = 1;
  out[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

TEST(HostCudaMisuseTest, ShowsAMissingBarrierAsUnwrittenMemory) {
  std::vector<int> out(64);
  launch(forget_the_barrier, {dim3{1}, dim3{64}, 64 * sizeof(int)}, nullptr, out.data());
  EXPECT_THAT(out, testing::Contains(-1));
}

template <class T>
__global__ void read_before_writing(T* out) {
  __shared__ T value[4];
  if (blockIdx.x > 0) out[blockIdx.x] = value[threadIdx.x];
  value[threadIdx.x] = 7;
}

TEST(HostCudaMisuseTest, ShowsThatABlockReadsWhatAnotherLeftInItsStaticSharedMemory) {
  std::vector<int> out(3, 0);
  launch(read_before_writing<int>, {dim3{3}, dim3{1}}, nullptr, out.data());
  EXPECT_EQ(out, (std::vector<int>{0, -1, -1}));
}

__global__ void fill_static(int* out) {
  __shared__ int values[6000];
  for (int i = 0; i < 6000; ++i) values[i] = i;
  out[0] = values[out[0]];
}

TEST(HostCudaMisuseTest, CountsStaticSharedMemory) {
  EXPECT_EQ(misuse_of(fill_static, dim3{1}), "no misuse");
  EXPECT_GE(static_shared_bytes(), 20'000U);
  EXPECT_LE(static_shared_bytes(), 24'000U);
  EXPECT_THAT(misuse_of(fill_static, dim3{1}, 32 * 1024), HasSubstr("of static shared memory; 49152"));
}

struct alignas(16) Four {
  int values[4];
};

__global__ void move_four(const int* from, int* to) {
  *reinterpret_cast<Four*>(to) = *reinterpret_cast<const Four*>(from);
}

TEST(HostCudaMisuseDeathTest, EndsAtAVectorAccessThatIsNotAligned) {
  alignas(16) int from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  alignas(16) int to[8] = {};
  launch(move_four, {dim3{1}, dim3{1}}, nullptr, from + 4, to);
  EXPECT_EQ(to[3], 8);
  EXPECT_DEATH(launch(move_four, {dim3{1}, dim3{1}}, nullptr, from + 1, to), "misaligned address");
  EXPECT_DEATH(launch(move_four, {dim3{1}, dim3{1}}, nullptr, from, to + 1), "misaligned address");
}

__global__ void index_outside(int* out, int index) {
  __shared__ int values[4];
  values[index] = 1;
  out[0] = values[0];
}

TEST(HostCudaMisuseDeathTest, EndsAtAnIndexOutsideASharedArray) {
  int out = 0;
  launch(index_outside, {dim3{1}, dim3{1}}, nullptr, &out, 0);
  EXPECT_DEATH(launch(index_outside, {dim3{1}, dim3{1}}, nullptr, &out, 4), "out of bounds");
}

__global__ void fill(int* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = 1;
}

TEST(GuardedBufferDeathTest, EndsAtAccessOutside) {
  GuardedBuffer<int> buffer(5);
  EXPECT_EQ(buffer[4], -1) << "not written yet";
  launch(fill, {dim3{1}, dim3{1}}, nullptr, buffer.data(), buffer.size());
  EXPECT_EQ(buffer.values(), std::vector<int>(5, 1));
  EXPECT_DEATH(launch(fill, {dim3{1}, dim3{1}}, nullptr, buffer.data(), buffer.size() + 1), "");
  EXPECT_DEATH(
      {
        GuardedBuffer<int> other(5);
        launch(fill, {dim3{1}, dim3{1}}, nullptr, other.data() - 1, std::size_t{1});
      },
      "in front of a buffer");
}

__global__ void leave_before_the_barrier(int*) {
  if (threadIdx.x == 5) return;
  __syncthreads();
}

__global__ void barrier_in_one_branch(int*) {
  if (threadIdx.x < 40) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(HostCudaMisuseTest, FindsBarriersThatNotAllThreadsReach) {
  EXPECT_THAT(misuse_of(leave_before_the_barrier, dim3{64}), HasSubstr("thread (5, 0, 0) has returned"));
  EXPECT_THAT(misuse_of(barrier_in_one_branch, dim3{64}), HasSubstr("different barriers"));
}

__global__ void barrier_against_warp(int*) {
  if (threadIdx.x == 0) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}

__global__ void shuffle_after_return(int* out) {
  if (threadIdx.x >= 20) return;
  out[threadIdx.x] = __shfl_sync(kAll, 1, 0);
}

__global__ void shuffle_without_self(int* out) { out[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1, 0); }

__global__ void shuffle_from_outside(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1, 20);
}

__global__ void masks_that_differ(int* out) {
  out[threadIdx.x] = __shfl_sync(threadIdx.x == 3 ? 0x0000000Fu : kAll, 1, 0);
}

__global__ void operations_that_differ(int* out) {
  if (threadIdx.x == 0) {
    out[0] = __shfl_sync(kAll, 1, 0);
  } else {
    out[threadIdx.x] = static_cast<int>(__ballot_sync(kAll, 1));
  }
}

TEST(HostCudaMisuseTest, FindsWarpOperationsThatNotAllLanesShare) {
  EXPECT_THAT(misuse_of(barrier_against_warp, dim3{32}), HasSubstr("cannot go on"));
  EXPECT_THAT(misuse_of(shuffle_after_return, dim3{32}), HasSubstr("0xffffffff"));
  EXPECT_THAT(misuse_of(shuffle_without_self, dim3{32}), HasSubstr("does not contain the caller"));
  EXPECT_THAT(misuse_of(shuffle_from_outside, dim3{32}), HasSubstr("a lane outside its mask"));
  EXPECT_THAT(misuse_of(masks_that_differ, dim3{32}), HasSubstr("warp operation"));
  EXPECT_THAT(misuse_of(operations_that_differ, dim3{32}), HasSubstr("host_cuda_test.cpp"));
  EXPECT_THAT(misuse_of(shuffle_after_return, dim3{16}), HasSubstr("some do not exist"));
}

TEST(HostCudaMisuseTest, FindsLaunchesThatAGpuRefuses) {
  EXPECT_THAT(misuse_of(leave_before_the_barrier, dim3{1025}), HasSubstr("1024"));
  EXPECT_THAT(misuse_of(leave_before_the_barrier, dim3{0}), HasSubstr("a block of"));
  EXPECT_THAT(misuse_of(leave_before_the_barrier, dim3{32}, 49 * 1024), HasSubstr("49152"));
  EXPECT_THROW(launch(write_coordinates, {dim3{1, 65536}, dim3{1}}, nullptr, nullptr), Misuse);
}

__global__ void throw_from_a_thread(int*) {
  __syncthreads();
  if (threadIdx.x == 3) throw std::out_of_range("thread 3");
  __syncthreads();
}

TEST(HostCudaMisuseTest, PassesExceptionsOnAndStaysUsable) {
  std::vector<int> values{1, 2};
  EXPECT_THROW(launch(throw_from_a_thread, {dim3{1}, dim3{32}}, nullptr, values.data()), std::out_of_range);
  launch(reverse_in_shared, {dim3{1}, dim3{2}, 2 * sizeof(int)}, nullptr, values.data());
  EXPECT_EQ(values, (std::vector<int>{2, 1}));
}

}  // namespace
}  // namespace bunchtrain::host_cuda
