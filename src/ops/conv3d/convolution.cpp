// SPDX-License-Identifier: Apache-2.0
#include "convolution.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/convolution_backward.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <optional>
#include <tuple>

#include "convolution_strips.hpp"

namespace bunchtrain::ops::detail {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool is_below_kernel(const Extent3& padding, const at::Tensor& weight) {
  return padding[0] < weight.size(2) && padding[1] < weight.size(3) && padding[2] < weight.size(4);
}

/// Convolution on the CPU, each of its three computations the way that is fastest for its channels.
class Convolution : public torch::autograd::Function<Convolution> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const Extent3& padding) {
    context->save_for_backward({input, weight});
    context->saved_data["bias"] = bias.has_value();
    context->saved_data["padding"] = at::IntArrayRef(padding);
    return convolution_output(input, weight, bias.value_or(at::Tensor()), padding);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1];
    Extent3 padding;
    std::ranges::copy(context->saved_data["padding"].toIntVector(), padding.begin());
    const std::array<bool, 3> needed = {context->needs_input_grad(0), context->needs_input_grad(1),
                                        context->saved_data["bias"].toBool() && context->needs_input_grad(2)};
    const at::Tensor gradient = gradients[0].contiguous();
    if (c10::GradMode::is_enabled() || !is_below_kernel(padding, weight))
      return differentiable(gradient, input, weight, padding, needed);
    return {needed[0] ? input_gradient(gradient, weight, padding) : at::Tensor(),
            needed[1] ? weight_gradient(gradient, input, weight, padding) : at::Tensor(),
            needed[2] ? gradient.sum({0, 1, 2, 3}) : at::Tensor(),
            {}};
  }

 private:
  /// By LibTorch's own operations.
  static variable_list differentiable(const at::Tensor& gradient, const at::Tensor& input,
                                      const at::Tensor& weight, const Extent3& padding,
                                      std::array<bool, 3> needed) {
    const auto [of_input, of_weight, of_bias] = at::convolution_backward(
        gradient.permute({0, 4, 1, 2, 3}), input.permute({0, 4, 1, 2, 3}), weight,
        at::IntArrayRef(weight.size(0)), {1, 1, 1}, padding, {1, 1, 1}, /*transposed=*/false, {0, 0, 0},
        /*groups=*/1, needed);
    return {needed[0] ? of_input.permute({0, 2, 3, 4, 1}) : of_input, of_weight, of_bias, {}};
  }
};

/// What autocast makes of an argument of a convolution.
at::Tensor autocasted(const at::Tensor& tensor, c10::DeviceType device) {
  if (!tensor.defined() || !at::autocast::is_autocast_enabled(device)) return tensor;
  return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), tensor, device);
}

bool has_amx() {
#if defined(__x86_64__)
  constexpr unsigned kFeatures = 7, kAmxBf16 = 1U << 22U;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(kFeatures, 0, &a, &b, &c, &d) != 0 && (d & kAmxBf16) != 0;
#else
  return false;
#endif
}

/// Few processors multiply float16, and LibTorch has no fast way around: the same products in float32, whose
/// sums, and those of backward, are rounded at the end. So are those of bfloat16 where a processor has AMX: oneDNN 3.10
/// computes wrong ones there, of 3DGAN's first convolution (8 channels, kernel 6 x 6 x 8) nothing but noise.
at::ScalarType computed_in(at::ScalarType type) {
  static const bool amx = has_amx();
  return type == at::kHalf || (type == at::kBFloat16 && amx) ? at::kFloat : type;
}

}  // namespace

at::Tensor convolve(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                    const Extent3& padding) {
  // oneDNN 3.10 computes wrong bfloat16 weight gradients where the kernel is longer than the unpadded image.
  for (std::int64_t axis = 0; axis < 3; ++axis) {
    if (weight.size(2 + axis) <= input.size(1 + axis) || padding == Extent3{}) continue;
    const auto [x, y, z] = padding;
    return convolve(at::constant_pad_nd(input, {0, 0, z, z, y, y, x, x}), weight, bias, {0, 0, 0});
  }
  const c10::DeviceType device = input.device().type();
  const at::Tensor cells = autocasted(input, device).contiguous();
  const at::Tensor kernel = autocasted(weight, device), offset = autocasted(bias, device);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  if (device == c10::kCPU) {
    const at::ScalarType type = cells.scalar_type(), computed = computed_in(type);
    return Convolution::apply(cells.to(computed), kernel.to(computed),
                              offset.defined() ? std::optional(offset.to(computed)) : std::nullopt, padding)
        .to(type);
  }
  return at::conv3d(cells.permute({0, 4, 1, 2, 3}), kernel.contiguous(at::MemoryFormat::ChannelsLast3d),
                    offset, {1, 1, 1}, padding)
      .permute({0, 2, 3, 4, 1})
      .contiguous();
}

}  // namespace bunchtrain::ops::detail
