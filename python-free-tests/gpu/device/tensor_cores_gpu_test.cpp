// SPDX-License-Identifier: Apache-2.0
// The kernel of cuda_on_host/device on a card: mma, ldmatrix and cp.async do what their host versions do.
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>

#include "cuda_on_host/device/gemm_problem.hpp"

namespace bunchtrain::test {
namespace {

at::Tensor on_gpu(const Matrix& matrix) {
  const at::Tensor bytes = at::empty({static_cast<std::int64_t>(matrix.bytes().size())}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), matrix.bytes().data(), matrix.bytes().size());
  return bytes.cuda();
}

/// Runs `launch(a, b, c, stream)`. @returns the product's error as GemmProblem counts it
template <class Launch>
double error_of(const GemmProblem& problem, Launch launch) {
  const at::Tensor a = on_gpu(problem.a), b = on_gpu(problem.b);
  const at::Tensor c =
      at::empty({problem.sizes.m, problem.sizes.n}, at::TensorOptions(at::kFloat).device(at::kCUDA));
  launch(a.const_data_ptr(), b.const_data_ptr(), c.mutable_data_ptr<float>(),
         c10::cuda::getCurrentCUDAStream().stream());
  return problem.error_of(c.cpu().const_data_ptr<float>());
}

TEST(TensorCoresGpuTest, TiledProductEqualsFloat64) {
  ASSERT_GE(at::cuda::getCurrentDeviceProperties()->major, 8) << "tensor cores of this kind begin at 8.0";
  for (const GemmOperand operand : kGemmOperands)
    for (const GemmSizes& sizes : kGemmSizes) {
      const GemmProblem problem(operand, sizes);
      const double error = error_of(
          problem, [&](auto... arguments) { launch_gemm(operand, GemmMistake::none, sizes, arguments...); });
      EXPECT_LE(error, 2) << static_cast<int>(operand) << ": " << sizes.m << " x " << sizes.n << " x "
                          << sizes.k;
    }
}

TEST(TensorCoresGpuTest, FragmentsLieAsThePtxManualSays) {
  ASSERT_GE(at::cuda::getCurrentDeviceProperties()->major, 8) << "tensor cores of this kind begin at 8.0";
  for (const GemmOperand operand : kGemmOperands) {
    const bool is_tf32 = operand == GemmOperand::tf32;
    const GemmProblem problem(operand, {16, 8, is_tf32 ? 8 : 16});
    const double error =
        error_of(problem, [&](auto... arguments) { launch_single_mma(operand, arguments...); });
    EXPECT_LE(error, is_tf32 ? 0x1p14 : 2);
  }
}

}  // namespace
}  // namespace bunchtrain::test
