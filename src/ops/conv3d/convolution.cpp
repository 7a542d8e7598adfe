// SPDX-License-Identifier: Apache-2.0
#include "convolution.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/conv_transpose3d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "autocasted.hpp"
#include "bunchtrain/ops/kernels.hpp"
#include "bunchtrain/ops/weight_gradient_queue.hpp"
#include "convolution_strips.hpp"
#include "held_state.hpp"

namespace bunchtrain::ops::detail {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The zeros around an image: those that are laid around its cells in memory, or cells cut off, and those of both sides that
/// the computation only thinks of.
struct Frame {
  Padding3 laid;
  Extent3 thought = {};

  bool is_laid() const noexcept { return laid.before != Extent3{} || laid.after != Extent3{}; }
};

/// Cells along x, y, z.
Extent3 extent_of(at::TensorList stretches) {
  Extent3 cells = {0, stretches.front().size(2), stretches.front().size(3)};
  for (const at::Tensor& stretch : stretches) cells[0] += stretch.size(1);
  return cells;
}

/// oneDNN 3.10 computes wrong bfloat16 weight gradients where the kernel is longer than the image that it gets: all zeros
/// are laid then.
Frame frame_of(const Extent3& cells, const at::Tensor& weight, const Window& window) {
  Frame frame{.laid = window.padding};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::int64_t &before = frame.laid.before[axis], &after = frame.laid.after[axis];
    const std::int64_t both = std::max<std::int64_t>(0, std::min(before, after));
    before -= both;
    after -= both;
    frame.thought[axis] = both;
    const std::int64_t reach =
        (weight.size(2 + static_cast<std::int64_t>(axis)) - 1) * window.dilation[axis] + 1;
    if (reach > cells[axis] + before + after) return {.laid = window.padding};
  }
  return frame;
}

/// One image of stretches, with what is laid around them. Differentiable, also in those without a cell.
at::Tensor laid_out(at::TensorList stretches, const Frame& frame) {
  std::vector<at::Tensor> parts;
  const auto add_zeros = [&](std::int64_t cells) {
    auto sizes = stretches.front().sizes().vec();
    sizes[1] = cells;
    if (cells > 0) parts.push_back(at::zeros(sizes, stretches.front().options()));
  };
  Extent3 before = frame.laid.before, after = frame.laid.after;
  add_zeros(before[0]);
  for (const at::Tensor& stretch : stretches)
    if (stretch.size(1) > 0 || c10::GradMode::is_enabled()) parts.push_back(stretch);
  add_zeros(after[0]);
  before[0] = std::min<std::int64_t>(0, before[0]);
  after[0] = std::min<std::int64_t>(0, after[0]);
  if (parts.empty()) parts.push_back(stretches.front());
  const at::Tensor cells = parts.size() == 1 ? parts.front() : at::cat(parts, 1);
  if (before == Extent3{} && after == Extent3{}) return cells.contiguous();
  return at::constant_pad_nd(cells, {0, 0, before[2], after[2], before[1], after[1], before[0], after[0]});
}

/// The adjoint of `laid_out`, for stretches of so many cells along x.
std::vector<at::Tensor> taken_apart(at::Tensor cells, const std::vector<std::int64_t>& sizes,
                                    const Frame& frame) {
  const auto [x, y, z] = frame.laid.before;
  const auto [behind_x, behind_y, behind_z] = frame.laid.after;
  if (frame.is_laid())
    cells = at::constant_pad_nd(cells, {0, 0, -z, -behind_z, -y, -behind_y, -x, -behind_x});
  return cells.split_with_sizes(sizes, 1);
}

at::Tensor channels_second(const at::Tensor& cells) { return cells.permute({0, 4, 1, 2, 3}); }
at::Tensor channels_last(const at::Tensor& cells) { return cells.permute({0, 2, 3, 4, 1}); }

/// Whether the loops of `convolution_strips` serve.
bool has_own_loops(const at::Tensor& cells, const Window& window) {
  return kernels() == Kernels::automatic && cells.is_cpu() && window.has_unit_steps();
}

bool is_below_kernel(const Extent3& padding, const at::Tensor& weight) {
  return padding[0] < weight.size(2) && padding[1] < weight.size(3) && padding[2] < weight.size(4);
}

at::Tensor output_of(const at::Tensor& cells, const at::Tensor& weight, const at::Tensor& bias,
                     const Window& window, const Extent3& padding) {
  if (has_own_loops(cells, window)) return convolution_output(cells, weight, bias, padding);
  return channels_last(at::conv3d(channels_second(cells), weight.contiguous(at::MemoryFormat::ChannelsLast3d),
                                  bias, window.stride, padding, window.dilation))
      .contiguous();
}

/// Differentiable.
ConvolutionGradients by_libtorch(const at::Tensor& gradient, const at::Tensor& cells,
                                 const at::Tensor& weight, const Window& window, const Extent3& padding,
                                 NeededGradients needed) {
  const auto [image, of_weight, of_bias] = at::convolution_backward(
      channels_second(gradient), channels_second(cells), weight, at::IntArrayRef(weight.size(0)),
      window.stride, padding, window.dilation, /*transposed=*/false, {0, 0, 0},
      /*groups=*/1, {needed.image, needed.weight, needed.bias});
  return {needed.image ? channels_last(image) : image, of_weight, of_bias};
}

/// The image as it was laid out.
ConvolutionGradients gradients_of(const at::Tensor& gradient, at::TensorList stretches,
                                  const at::Tensor& weight, const Window& window, const Frame& frame,
                                  NeededGradients needed) {
  if (c10::GradMode::is_enabled() || !has_own_loops(gradient, window) ||
      !is_below_kernel(frame.thought, weight))
    return by_libtorch(gradient, laid_out(stretches, frame), weight, window, frame.thought, needed);
  ConvolutionGradients found;
  if (needed.image) found.image = input_gradient(gradient, weight, frame.thought);
  if (needed.weight)
    found.weight = weight_gradient(gradient, laid_out(stretches, frame), weight, frame.thought);
  if (needed.bias) found.bias = gradient.sum({0, 1, 2, 3});
  return found;
}

/// A convolution, each of its three computations the way that is fastest for its channels.
class Convolution : public torch::autograd::Function<Convolution> {
 public:
  static at::Tensor forward(AutogradContext* context, const Window& window, at::TensorList stretches,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
    variable_list saved = stretches.vec();
    saved.insert(saved.end(), {weight, bias.value_or(at::Tensor())});
    context->save_for_backward(std::move(saved));
    hold_state(context, std::make_shared<State>(State{window, WeightGradientQueue::current()}));
    const Frame frame = frame_of(extent_of(stretches), weight, window);
    return output_of(laid_out(stretches, frame), weight, bias.value_or(at::Tensor()), window, frame.thought);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto& [window, queue] = held_state<State>(context);
    variable_list stretches = context->get_saved_variables();
    const std::size_t count = stretches.size() - 2;
    const at::Tensor weight = std::move(stretches[count]), bias = std::move(stretches[count + 1]);
    stretches.resize(count);
    NeededGradients needed{.weight = context->needs_input_grad(count),
                           .bias = bias.defined() && context->needs_input_grad(count + 1)};
    std::vector<std::int64_t> sizes;
    for (std::size_t i = 0; i < count; ++i) {
      needed.image = needed.image || context->needs_input_grad(i);
      sizes.push_back(stretches[i].size(1));
    }
    const Frame frame = frame_of(extent_of(stretches), weight, window);
    const at::Tensor gradient = gradients[0].contiguous();
    if (queue && !needed.weight && !c10::GradMode::is_enabled())
      put_off(*queue, gradient, stretches, weight, bias, window, frame);
    const ConvolutionGradients found = gradients_of(gradient, stretches, weight, window, frame, needed);
    variable_list all(1 + count);  // the window has none
    if (needed.image) {
      auto parts = taken_apart(found.image, sizes, frame);
      for (std::size_t i = 0; i < count; ++i)
        if (context->needs_input_grad(i)) all[1 + i] = std::move(parts[i]);
    }
    all.insert(all.end(), {found.weight, found.bias});
    return all;
  }

 private:
  struct State {
    Window window;
    std::shared_ptr<WeightGradientQueue> queue;  ///< or null
  };

  /// The gradients of weight and bias.
  static void put_off(WeightGradientQueue& queue, const at::Tensor& gradient, at::TensorList stretches,
                      const at::Tensor& weight, const at::Tensor& bias, const Window& window,
                      const Frame& frame) {
    variable_list image;
    for (const at::Tensor& stretch : stretches) image.push_back(stretch.detach());
    if (weight.requires_grad())
      queue.push(weight, [gradient, image, weight = weight.detach(), window, frame] {
        return gradients_of(gradient, image, weight, window, frame, {.weight = true}).weight;
      });
    if (bias.defined() && bias.requires_grad())
      queue.push(bias, [gradient] { return gradient.sum({0, 1, 2, 3}); });
  }
};

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

at::Tensor plain_output(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias,
                        const Window& window) {
  const Frame frame = frame_of(extent_of(image), weight, window);
  return output_of(laid_out(image, frame), weight, bias, window, frame.thought);
}

ConvolutionGradients plain_gradients(const at::Tensor& gradient, const at::Tensor& image,
                                     const at::Tensor& weight, const Window& window, NeededGradients needed) {
  const Frame frame = frame_of(extent_of(image), weight, window);
  ConvolutionGradients found = gradients_of(gradient, image, weight, window, frame, needed);
  if (needed.image) found.image = taken_apart(found.image, {image.size(1)}, frame).front();
  return found;
}

at::Tensor convolve(at::TensorList stretches, const at::Tensor& weight, const at::Tensor& bias,
                    const Window& window) {
  const c10::DeviceType device = stretches.front().device().type();
  const at::Tensor kernel = autocasted(weight, device), offset = autocasted(bias, device);
  std::vector<at::Tensor> cells;
  for (const at::Tensor& stretch : stretches) cells.push_back(autocasted(stretch, device));
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  if (device != c10::kCPU && WeightGradientQueue::current() == nullptr) {
    const Frame frame = frame_of(extent_of(cells), kernel, window);
    if (cells.size() == 1 && !frame.is_laid())
      return output_of(cells.front().contiguous(), kernel, offset, window, frame.thought);
  }
  const at::ScalarType type = cells.front().scalar_type();
  const at::ScalarType computed = device == c10::kCPU ? computed_in(type) : type;
  for (at::Tensor& stretch : cells) stretch = stretch.to(computed);
  return Convolution::apply(window, at::TensorList(cells), kernel.to(computed),
                            offset.defined() ? std::optional(offset.to(computed)) : std::nullopt)
      .to(type);
}

at::Tensor convolve_transposed(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                               const Extent3& stride) {
  const c10::DeviceType device = input.device().type();
  const at::Tensor cells = autocasted(input, device), kernel = autocasted(weight, device),
                   offset = autocasted(bias, device);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::ScalarType type = cells.scalar_type();
  const at::ScalarType computed = device == c10::kCPU ? computed_in(type) : type;
  return channels_last(at::conv_transpose3d(channels_second(cells.to(computed)), kernel.to(computed),
                                            offset.defined() ? offset.to(computed) : offset, stride))
      .to(type);
}

}  // namespace bunchtrain::ops::detail
