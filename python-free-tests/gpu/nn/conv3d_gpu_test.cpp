// SPDX-License-Identifier: Apache-2.0
// Convolutions on a card: the kernels that an upsampling one keeps serve every stream, and ours are as right as cuDNN's.
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <c10/core/GradMode.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>

#include <vector>

#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/ops/convolution_choices.hpp"
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

/// Output and gradients of input, weight and bias, of sum(output * probe).
std::vector<at::Tensor> step_of(const nn::Conv3dOptions& options, c10::Device device, at::ScalarType type,
                                device::Precision precision) {
  nn::Conv3d layer(options);
  {
    const c10::NoGradGuard no_grad;
    layer->weight.copy_(random_normal(layer->weight.sizes(), 1));
    layer->bias.copy_(random_normal(layer->bias.sizes(), 2));
  }
  layer->to(device, type);
  const at::Tensor image =
      random_normal({3, 7, 8, 9, options.in_channels}, 3, at::kDouble).to(device, type).requires_grad_();
  const device::PrecisionGuard guard(precision, device.type());
  const at::Tensor output = layer->forward(image);
  output.mul(random_normal(output.sizes(), 4, at::kDouble).to(device, type)).sum().backward();
  return {output.detach(), image.grad(), layer->weight.grad(), layer->bias.grad()};
}

TEST(DirectConvolutionGpuTest, IsAsNearToFloat64AsCudnnAndGivesTheSameBitsInEveryRun) {
  const c10::Device card(c10::kCUDA, 0);
  const nn::Conv3dOptions plain{.in_channels = 6,
                                .out_channels = 8,
                                .kernel = {4, 4, 6},
                                .padding = ops::Padding3::symmetric({2, 2, 1})},
      upsampled{.in_channels = 8, .out_channels = 6, .kernel = {3, 3, 8}, .upsampling = {2, 2, 3}};
  for (const nn::Conv3dOptions& options : {plain, upsampled}) {
    const auto expected = step_of(options, c10::kCPU, at::kDouble, device::Precision::float64);
    for (const device::Precision precision : {device::Precision::tf32, device::Precision::bfloat16}) {
      ops::convolution_choices().always(ops::ConvolutionWay::direct);
      const auto direct = step_of(options, card, at::kFloat, precision),
                 again = step_of(options, card, at::kFloat, precision);
      ops::convolution_choices().always(ops::ConvolutionWay::library);
      const auto library = step_of(options, card, at::kFloat, precision);
      ops::convolution_choices().always(std::nullopt);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto distance = [&](const at::Tensor& found) {
          return found.cpu().to(at::kDouble).sub(expected[i]).norm().item<double>();
        };
        EXPECT_LE(distance(direct[i]), 1.5 * distance(library[i]) + 1e-3 * expected[i].norm().item<double>())
            << i;
        EXPECT_TRUE(again[i].equal(direct[i])) << i;
      }
    }
  }
}

}  // namespace
}  // namespace bunchtrain::test
