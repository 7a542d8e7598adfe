// SPDX-License-Identifier: Apache-2.0
// The kernels that an upsampling convolution keeps serve every stream.
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <c10/core/GradMode.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>

#include "bunchtrain/nn/conv3d.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::test {
namespace {

using nn::random_normal;

TEST(Conv3dGpuTest, KeptKernelsAreReadyOnStreamsThatDidNotMakeThem) {
  const c10::NoGradGuard no_grad;
  nn::Conv3d layer(nn::Conv3dOptions{.in_channels = 4,
                                     .out_channels = 6,
                                     .kernel = {6, 5, 8},
                                     .padding = ops::Padding3::symmetric({2, 2, 0}),
                                     .upsampling = {2, 2, 2}});
  layer->weight.copy_(random_normal(layer->weight.sizes(), 1));
  layer->to(at::kCUDA);
  const at::Tensor image = random_normal({2, 3, 4, 5, 4}, 3, at::kFloat).cuda();
  const at::Tensor expected = layer->forward(image).clone();
  const at::Tensor busy = random_normal({4096, 4096}, 4, at::kFloat).cuda();
  c10::cuda::device_synchronize();

  for (int round = 0; round < 5; ++round) {
    layer->weight.add_(0);  // another version: the kernels are made again
    c10::cuda::device_synchronize();
    {
      const c10::cuda::CUDAStreamGuard maker(c10::cuda::getStreamFromPool());
      at::Tensor product = busy;
      for (int i = 0; i < 10; ++i) product = at::mm(product, busy);  // the kernels come late
      layer->forward(image);
    }
    const c10::cuda::CUDAStreamGuard reader(c10::cuda::getStreamFromPool());
    EXPECT_TRUE(at::equal(layer->forward(image), expected));
  }
}

}  // namespace
}  // namespace bunchtrain::test
