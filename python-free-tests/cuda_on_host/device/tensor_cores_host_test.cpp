// SPDX-License-Identifier: Apache-2.0 The wrappers of mma, ldmatrix and cp.async on the host: what PTX
// defines works, a missing wait or barrier is seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bunchtrain/device/detail/async_copy.cuh>
#include <bunchtrain/device/detail/launch.cuh>
#include <bunchtrain/device/detail/mma.cuh>
#include <string>
#include <vector>

#include "cuda_on_host/device/gemm_problem.hpp"
#include "cuda_on_host/runtime/guarded_buffer.hpp"

namespace bunchtrain::test {
namespace {

using device::launch;
using host_cuda::GuardedBuffer;
using host_cuda::Misuse;
using testing::HasSubstr;

/// The error of the product, as GemmProblem counts it.
double gemm_error(GemmOperand operand, const GemmSizes& sizes, GemmMistake mistake = GemmMistake::none) {
  const GemmProblem problem(operand, sizes);
  const GuardedBuffer a(problem.a.bytes()), b(problem.b.bytes());
  GuardedBuffer<float> c(static_cast<std::size_t>(sizes.m * sizes.n));
  launch_gemm(operand, mistake, sizes, a.data(), b.data(), c.data(), nullptr);
  return problem.error_of(c.data());
}

TEST(TensorCoresHostTest, TiledProductEqualsFloat64) {
  for (const GemmOperand operand : kGemmOperands)
    for (const GemmSizes& sizes : kGemmSizes)
      for (std::uint64_t seed = 1; seed < 3; ++seed) {
        host_cuda::set_seed(seed);
        EXPECT_LE(gemm_error(operand, sizes), 1)
            << static_cast<int>(operand) << ": " << sizes.m << " x " << sizes.n << " x " << sizes.k;
      }
}

TEST(TensorCoresHostTest, FragmentsLieAsThePtxManualSays) {
  for (const GemmOperand operand : kGemmOperands) {
    const std::int64_t depth = operand == GemmOperand::tf32 ? 8 : 16;
    GemmProblem problem(operand, {16, 8, depth});
    const GuardedBuffer a(problem.a.bytes()), b(problem.b.bytes());
    GuardedBuffer<float> c(16 * 8);
    launch_single_mma(operand, a.data(), b.data(), c.data(), nullptr);
    // Without to_tf32 operands are truncated: up to 2^-10 each instead of 2^-11.
    EXPECT_LE(problem.error_of(c.data()), operand == GemmOperand::tf32 ? 0x1p14 : 1);
  }
}

TEST(TensorCoresHostTest, Tf32IsRoundedByItsConversionAndCutByTheProduct) {
  EXPECT_EQ(device::to_tf32(1.0F), 0x3F800000u);
  EXPECT_EQ(device::to_tf32(std::bit_cast<float>(0x3F800FFFu)), 0x3F800000u);
  EXPECT_EQ(device::to_tf32(std::bit_cast<float>(0x3F801000u)), 0x3F802000u) << "ties go away from zero";
  EXPECT_EQ(device::to_tf32(std::bit_cast<float>(0xBF801000u)), 0xBF802000u);
  EXPECT_EQ(device::to_tf32(std::bit_cast<float>(0x7F7FFFFFu)), 0x7F800000u) << "to infinity";
  std::vector<float> a(16 * 8, std::bit_cast<float>(0x3F801FFFu)), b(8 * 8, 1.0F), c(16 * 8);
  launch_single_mma(GemmOperand::tf32, a.data(), b.data(), c.data(), nullptr);
  EXPECT_EQ(c, std::vector<float>(16 * 8, 8.0F));
}

template <int kMatrices, bool kTransposed>
__global__ void load_matrices(unsigned* out) {
  unsigned short* rows = device::dynamic_shared<unsigned short>();
  for (unsigned i = threadIdx.x; i < 8 * 8 * kMatrices; i += 32) rows[i] = static_cast<unsigned short>(i);
  __syncthreads();
  unsigned registers[kMatrices];
  const unsigned short* row = rows + threadIdx.x % (8 * kMatrices) * 8;
  if constexpr (kTransposed)
    device::ldmatrix_trans<kMatrices>(registers, row);
  else
    device::ldmatrix<kMatrices>(registers, row);
  for (int m = 0; m < kMatrices; ++m) out[m * 32 + static_cast<int>(threadIdx.x)] = registers[m];
}

template <int kMatrices>
void expect_matrices() {
  const std::size_t bytes = std::size_t{8} * 16 * kMatrices;
  GuardedBuffer<unsigned> straight(32 * kMatrices), across(32 * kMatrices);
  launch(load_matrices<kMatrices, false>, {dim3{1}, dim3{32}, bytes}, nullptr, straight.data());
  launch(load_matrices<kMatrices, true>, {dim3{1}, dim3{32}, bytes}, nullptr, across.data());
  for (unsigned m = 0; m < kMatrices; ++m)
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned first = 64 * m + lane / 4 * 8 + lane % 4 * 2;
      EXPECT_EQ(straight[m * 32 + lane], first | (first + 1) << 16);
      const unsigned upper = 64 * m + lane % 4 * 2 * 8 + lane / 4;
      EXPECT_EQ(across[m * 32 + lane], upper | (upper + 8) << 16);
    }
}

TEST(TensorCoresHostTest, LoadsOneTwoAndFourMatrices) {
  expect_matrices<1>();
  expect_matrices<2>();
  expect_matrices<4>();
}

/// Copies 4 bytes per thread in two groups, with a chosen wait, and reads its own.
template <int kGroupsLeft>
__global__ void copy_two(const int* from, int* out) {
  int* shared = device::dynamic_shared<int>();
  const unsigned t = threadIdx.x;
  device::copy_async<4>(shared + t, from + t);
  device::commit_copies();
  device::copy_async<4>(shared + 32 + t, from + 32 + t, t != 3);
  device::commit_copies();
  if constexpr (kGroupsLeft >= 0) device::wait_for_copies<kGroupsLeft>();
  out[t] = shared[t];
  out[32 + t] = shared[32 + t];
  device::wait_for_copies<0>();
}

TEST(AsyncCopyHostTest, DataArriveAtTheWaitAndNotBefore) {
  std::vector<int> values(64), out(64);
  for (int i = 0; i < 64; ++i) values[static_cast<std::size_t>(i)] = i + 1;
  const device::LaunchConfig config{dim3{1}, dim3{32}, 64 * sizeof(int)};
  launch(copy_two<0>, config, nullptr, values.data(), out.data());
  std::vector<int> expected = values;
  expected[35] = 0;  // not in range
  EXPECT_EQ(out, expected);
  launch(copy_two<1>, config, nullptr, values.data(), out.data());
  std::fill(expected.begin() + 32, expected.end(), -1);
  EXPECT_EQ(out, expected);
  launch(copy_two<-1>, config, nullptr, values.data(), out.data());
  EXPECT_EQ(out, std::vector<int>(64, -1));
}

std::string misuse_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Misuse& misuse) {
    return misuse.what();
  }
  return "no misuse";
}

TEST(AsyncCopyHostTest, AKernelThatForgetsToWaitIsFound) {
  for (const GemmOperand operand : kGemmOperands)
    for (const GemmMistake mistake : {GemmMistake::forgets_to_wait, GemmMistake::waits_for_too_few})
      EXPECT_THAT(misuse_of([&] {
                    gemm_error(operand, {32, 32, 64}, mistake);
                  }),
                  HasSubstr("without having waited"));
}

TEST(AsyncCopyHostTest, AMissingBarrierGivesNaN) {
  host_cuda::set_seed(1);
  for (const GemmOperand operand : kGemmOperands)
    EXPECT_GT(gemm_error(operand, {32, 32, 320}, GemmMistake::forgets_the_barrier), 1e6);
}

__global__ void copy_to_global(const int* from, int* to) { device::copy_async<4>(to, from); }

__global__ void copy_badly_aligned(const int* from, int*) {
  device::copy_async<16>(device::dynamic_shared<char>(), from + 1);
}

__global__ void load_from_global(const int* from, int* out) {
  unsigned registers[1];
  device::ldmatrix<1>(registers, from);
  out[threadIdx.x] = static_cast<int>(registers[0]);
}

TEST(AsyncCopyHostTest, WrongAddressesAreFound) {
  alignas(16) int memory[64] = {};
  const auto run = [&](void (*kernel)(const int*, int*)) {
    return misuse_of([&] { launch(kernel, {dim3{1}, dim3{32}, 64}, nullptr, memory, memory + 32); });
  };
  EXPECT_THAT(run(copy_to_global), HasSubstr("outside shared memory"));
  EXPECT_THAT(run(copy_badly_aligned), HasSubstr("not a multiple"));
  EXPECT_THAT(run(load_from_global), HasSubstr("outside shared memory"));
}

__global__ void product_of_half_a_warp(int*) {
  device::FragmentC c{};
  device::mma_m16n8k8_tf32(c, {}, {});
}

TEST(TensorCoresHostTest, AWarpMustBeWhole) {
  EXPECT_THAT(misuse_of([] {
                launch(product_of_half_a_warp, {dim3{1}, dim3{16}}, nullptr, nullptr);
              }),
              HasSubstr("some do not exist"));
}

}  // namespace
}  // namespace bunchtrain::test
