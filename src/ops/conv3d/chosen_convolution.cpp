// SPDX-License-Identifier: Apache-2.0
#include "chosen_convolution.hpp"

#include <ATen/Context.h>
#include <ATen/ops/constant_pad_nd.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "autocasted.hpp"
#include "bunchtrain/ops/convolution_choices.hpp"
#include "bunchtrain/ops/kernels.hpp"
#include "bunchtrain/ops/weight_gradient_queue.hpp"
#include "convolution.hpp"
#include "edge_conv/fused.hpp"
#include "held_state.hpp"

namespace bunchtrain::ops::detail {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr ConvolutionPass kPasses[] = {ConvolutionPass::output, ConvolutionPass::image_gradient,
                                       ConvolutionPass::weight_gradient};

/// The adjoint of `sorted_phases`.
at::Tensor unsorted_phases(const at::Tensor& sorted, const DirectGeometry& g) {
  const auto& [x, y, z] = g.outputs;
  const auto& [fx, fy, fz] = g.factor;
  return at::constant_pad_nd(sorted,
                             {0, 0, 0, fz * z - g.fine[2], 0, fy * y - g.fine[1], 0, fx * x - g.fine[0]})
      .view({sorted.size(0), x, fx, y, fy, z, fz, g.channels})
      .permute({0, 1, 3, 5, 2, 4, 6, 7})
      .reshape({sorted.size(0), x, y, z, g.phases() * g.channels});
}

/// LibTorch's computations of a call.
class ByLibrary {
 public:
  explicit ByLibrary(const DirectGeometry& geometry) : geometry_(geometry) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      window_.padding.before[axis] = geometry.before[axis];
      window_.padding.after[axis] =
          geometry.outputs[axis] + geometry.kernel[axis] - 1 - geometry.cells[axis] - geometry.before[axis];
    }
  }

  at::Tensor output(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias) const {
    const at::Tensor wide =
        plain_output(image, weight, bias.defined() ? bias.repeat(geometry_.phases()) : bias, window_);
    return is_plain() ? wide : sorted_phases(wide, geometry_.factor, geometry_.fine);
  }
  /// Differentiable where gradients are. The bias has none here.
  ConvolutionGradients gradients(const at::Tensor& gradient, const at::Tensor& image,
                                 const at::Tensor& weight, NeededGradients needed) const {
    return plain_gradients(is_plain() ? gradient : unsorted_phases(gradient, geometry_), image, weight,
                           window_, needed);
  }

 private:
  bool is_plain() const { return geometry_.phases() == 1; }

  DirectGeometry geometry_;
  Window window_;
};

/// What `pass` gives, the way chosen for it.
template <class Library, class Direct>
at::Tensor computed(const DirectCall& call, ConvolutionPass pass, c10::Device device, Library library,
                    Direct direct) {
  if (!why_not_direct(call, pass).empty()) return library();
  const ConvolutionWay way = convolution_choices().choose(
      name_of(call, pass), device, [&] { library(); }, [&] { direct(); });
  return way == ConvolutionWay::direct ? direct() : library();
}

const ConvolutionTiles& line_of(const DirectCall& call) { return convolution_tiles(call.compute_capability); }

at::Tensor weight_gradient_of(const DirectCall& call, const at::Tensor& gradient, const at::Tensor& image,
                              const at::Tensor& weight) {
  return computed(
      call, ConvolutionPass::weight_gradient, image.device(),
      [&] { return ByLibrary(call.geometry).gradients(gradient, image, weight, {.weight = true}).weight; },
      [&] { return direct_weight_gradient(gradient, image, call.geometry, line_of(call)); });
}

class ChosenConvolution : public torch::autograd::Function<ChosenConvolution> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& image, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const DirectCall& call) {
    const at::Tensor offset = bias.value_or(at::Tensor());
    context->save_for_backward({image, weight, offset});
    hold_state(context, std::make_shared<State>(State{call, WeightGradientQueue::current()}));
    return computed(
        call, ConvolutionPass::output, image.device(),
        [&] { return ByLibrary(call.geometry).output(image, weight, offset); },
        [&] { return direct_output(image, weight, offset, call.geometry, line_of(call)); });
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto& [call, queue] = held_state<State>(context);
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &image = saved[0], &weight = saved[1], &bias = saved[2];
    const at::Tensor gradient = gradients[0].contiguous();
    const NeededGradients needed{.image = context->needs_input_grad(0),
                                 .weight = context->needs_input_grad(1)};
    const bool needs_bias = bias.defined() && context->needs_input_grad(2);
    if (queue && !needed.weight && !c10::GradMode::is_enabled())
      put_off(*queue, call, gradient, image, weight, bias);
    const ConvolutionGradients found =
        c10::GradMode::is_enabled() ? ByLibrary(call.geometry).gradients(gradient, image, weight, needed)
                                    : gradients_of(call, gradient, image, weight, needed);
    return {found.image, found.weight, needs_bias ? gradient.sum({0, 1, 2, 3}) : at::Tensor(), {}};
  }

 private:
  struct State {
    DirectCall call;
    std::shared_ptr<WeightGradientQueue> queue;  ///< or null
  };

  static ConvolutionGradients gradients_of(const DirectCall& call, const at::Tensor& gradient,
                                           const at::Tensor& image, const at::Tensor& weight,
                                           NeededGradients needed) {
    ConvolutionGradients found;
    if (needed.image)
      found.image = computed(
          call, ConvolutionPass::image_gradient, image.device(),
          [&] { return ByLibrary(call.geometry).gradients(gradient, image, weight, {.image = true}).image; },
          [&] { return direct_image_gradient(gradient, weight, call.geometry, line_of(call)); });
    if (needed.weight) found.weight = weight_gradient_of(call, gradient, image, weight);
    return found;
  }

  static void put_off(WeightGradientQueue& queue, const DirectCall& call, const at::Tensor& gradient,
                      const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias) {
    if (weight.requires_grad())
      queue.push(weight, [call, gradient, image = image.detach(), weight = weight.detach()] {
        return weight_gradient_of(call, gradient, image, weight);
      });
    if (bias.defined() && bias.requires_grad())
      queue.push(bias, [gradient] { return gradient.sum({0, 1, 2, 3}); });
  }
};

bool has_tf32() {
  return at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::CONV) ==
         at::Float32Precision::TF32;
}

}  // namespace

at::Tensor sorted_phases(const at::Tensor& wide, const Extent3& factor, const Extent3& fine) {
  const std::int64_t batch = wide.size(0), x = wide.size(1), y = wide.size(2), z = wide.size(3),
                     channels = wide.size(4) / (factor[0] * factor[1] * factor[2]);
  return wide.view({batch, x, y, z, factor[0], factor[1], factor[2], channels})
      .permute({0, 1, 4, 2, 5, 3, 6, 7})
      .reshape({batch, x * factor[0], y * factor[1], z * factor[2], channels})
      .slice(1, 0, fine[0])
      .slice(2, 0, fine[1])
      .slice(3, 0, fine[2])
      .contiguous();
}

at::Tensor convolve_as_chosen(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias,
                              const DirectCall& call) {
  return ChosenConvolution::apply(image.contiguous(), weight,
                                  bias.defined() ? std::optional(bias) : std::nullopt, call);
}

std::optional<at::Tensor> convolve_as_chosen(at::TensorList stretches, const at::Tensor& weight,
                                             const at::Tensor& bias, const DirectGeometry& geometry,
                                             bool unit_steps) {
  const c10::Device device = stretches.front().device();
  if (kernels() == Kernels::libtorch || !device.is_cuda() || stretches.size() != 1) return std::nullopt;
  const at::Tensor image = autocasted(stretches.front(), device.type()),
                   kernel = autocasted(weight, device.type()), offset = autocasted(bias, device.type());
  const DirectCall call{.geometry = geometry,
                        .batch = image.size(0),
                        .type = image.scalar_type(),
                        .one_type = kernel.scalar_type() == image.scalar_type() &&
                                    kernel.device() == device &&
                                    (!offset.defined() || offset.scalar_type() == image.scalar_type()),
                        .unit_steps = unit_steps,
                        .tf32 = has_tf32(),
                        .compute_capability = fused_card(device).compute_capability};
  const auto goes = [&](ConvolutionPass pass) { return why_not_direct(call, pass).empty(); };
  if (std::ranges::none_of(kPasses, goes)) return std::nullopt;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return convolve_as_chosen(image, kernel, offset, call);
}

}  // namespace bunchtrain::ops::detail
