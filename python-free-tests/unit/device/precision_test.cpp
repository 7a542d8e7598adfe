// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/precision.hpp"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/detail/gpu_situation.hpp"

namespace bunchtrain::device {
namespace {

TEST(PrecisionTest, NamesReadBack) {
  for (const Precision precision :
       {Precision::float32, Precision::float64, Precision::tf32, Precision::bfloat16, Precision::float16}) {
    EXPECT_EQ(parse_precision(to_string(precision)), precision);
  }
  EXPECT_THROW(parse_precision("fp16"), ConfigError);
}

TEST(PrecisionTest, GuardSetsAndRestoresAutocast) {
  const at::Tensor a = at::ones({4, 4});
  {
    const PrecisionGuard guard(Precision::bfloat16, c10::kCPU);
    EXPECT_EQ(at::mm(a, a).scalar_type(), at::kBFloat16);
    {
      const PrecisionGuard inner(Precision::float32, c10::kCPU);
      EXPECT_EQ(at::mm(a, a).scalar_type(), at::kFloat);
    }
    {
      const PrecisionGuard inner(Precision::float16, c10::kCPU);
      EXPECT_EQ(at::mm(a, a).scalar_type(), at::kHalf);
    }
    EXPECT_EQ(at::mm(a, a).scalar_type(), at::kBFloat16);
  }
  EXPECT_EQ(at::mm(a, a).scalar_type(), at::kFloat);
}

TEST(PrecisionTest, GuardSetsAndRestoresTf32) {
  const bool before = at::globalContext().allowTF32CuBLAS();
  {
    const PrecisionGuard guard(Precision::tf32, c10::kCPU);
    EXPECT_TRUE(at::globalContext().allowTF32CuBLAS());
    EXPECT_TRUE(at::globalContext().allowTF32CuDNN());
    const PrecisionGuard inner(Precision::float32, c10::kCPU);
    EXPECT_FALSE(at::globalContext().allowTF32CuDNN());
  }
  EXPECT_EQ(at::globalContext().allowTF32CuBLAS(), before);
}

TEST(PrecisionTest, WeightCacheEndsWithTheGuard) {
  at::Tensor weight = at::ones({2, 2}).requires_grad_();
  const at::Tensor input = at::ones({2, 2});
  const auto product = [&] {
    const PrecisionGuard guard(Precision::bfloat16, c10::kCPU);
    return at::mm(input, weight).sum().item<float>();
  };
  EXPECT_EQ(product(), 8.0F);
  weight.detach().fill_(2.0);  // behind autograd's back, as an arena update
  EXPECT_EQ(product(), 16.0F);
}

const GpuSituation kTwoCards{.gpus = {{"Tesla T4", 75}, {"NVIDIA H200", 90}}};
const c10::Device kTuring(c10::kCUDA, 0), kHopper(c10::kCUDA, 1);

TEST(PrecisionTest, AutomaticIsTf32WhereTheChosenGpuHasIt) {
  EXPECT_EQ(automatic_precision(kHopper, kTwoCards), Precision::tf32);
  EXPECT_EQ(automatic_precision(kTuring, kTwoCards), Precision::float32);
  EXPECT_EQ(automatic_precision(c10::kCPU), Precision::float32);
}

class NewInterfaceTest : public testing::Test {
 protected:
  static constexpr auto kCuda = at::Float32Backend::CUDA;
  static at::Float32Precision of(at::Float32Op op) { return at::globalContext().float32Precision(kCuda, op); }
  ~NewInterfaceTest() override {
    at::globalContext().setAllowTF32CuBLAS(false);
    at::globalContext().setAllowTF32CuDNN(true);
  }
};

TEST_F(NewInterfaceTest, TheApplicationMayHaveUsedIt) {
  using at::Float32Op, at::Float32Precision;
  at::globalContext().setFloat32Precision(kCuda, Float32Op::MATMUL, Float32Precision::TF32);
  at::globalContext().setFloat32Precision(kCuda, Float32Op::CONV, Float32Precision::IEEE);
  {
    const PrecisionGuard guard(Precision::float32, c10::kCPU);
    EXPECT_NE(of(Float32Op::MATMUL), Float32Precision::TF32);
    EXPECT_FALSE(at::globalContext().allowTF32CuBLAS());
    const PrecisionGuard inner(Precision::tf32, c10::kCPU);
    EXPECT_EQ(of(Float32Op::CONV), Float32Precision::TF32);
    EXPECT_TRUE(at::globalContext().allowTF32CuDNN());
  }
  EXPECT_EQ(of(Float32Op::MATMUL), Float32Precision::TF32);
  EXPECT_EQ(of(Float32Op::CONV), Float32Precision::IEEE);
}

TEST(PrecisionTest, ConvolutionsOfTheCpuKnowNoBenchmark) {
  prefer_fast_convolutions(c10::kCPU);
  EXPECT_FALSE(at::globalContext().benchmarkCuDNN());
  prefer_fast_convolutions(kHopper);
  EXPECT_TRUE(at::globalContext().benchmarkCuDNN());
  at::globalContext().setBenchmarkCuDNN(false);
}

TEST(PrecisionTest, Support) {
  EXPECT_EQ(why_unsupported(Precision::bfloat16, c10::kCPU, {}), "");
  EXPECT_EQ(why_unsupported(Precision::float64, kTuring, kTwoCards), "");
  EXPECT_EQ(why_unsupported(Precision::float16, kTuring, kTwoCards), "");
  EXPECT_EQ(why_unsupported(Precision::float16, c10::kCPU, {}), "");
  EXPECT_EQ(why_unsupported(Precision::bfloat16, kHopper, kTwoCards), "") << "the other card does not matter";
  EXPECT_THAT(
      why_unsupported(Precision::bfloat16, kTuring, kTwoCards),
      testing::AllOf(testing::HasSubstr("Tesla T4"), testing::HasSubstr("8.0"), testing::HasSubstr("7.5"),
                     testing::HasSubstr("choose float32, float64 or float16")));
  EXPECT_THROW(why_unsupported(Precision::tf32, {c10::kCUDA, 2}, kTwoCards), DeviceError);
  EXPECT_THROW(require_supported(Precision::tf32, c10::kCPU), DeviceError);
  EXPECT_NO_THROW(require_supported(Precision::float32, c10::kCPU));
}

}  // namespace
}  // namespace bunchtrain::device
