// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/linear.hpp"

#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include "autocasted.hpp"
#include "bunchtrain/ops/weight_gradient_queue.hpp"
#include "held_state.hpp"

namespace bunchtrain::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor as_rows(const at::Tensor& tensor) { return tensor.reshape({-1, tensor.size(-1)}); }

at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& input) {
  return at::matmul(as_rows(gradient).t(), as_rows(input));
}

/// What autograd makes of `at::linear`; gradients of weights are put off where those of the input alone are wanted.
class PutOffLinear : public torch::autograd::Function<PutOffLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias, std::shared_ptr<WeightGradientQueue> queue) {
    context->save_for_backward({input, weight, bias});
    detail::hold_state(context, std::move(queue));
    return at::linear(input, weight, bias);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1], &bias = saved[2], &gradient = gradients[0];
    const bool of_weight = context->needs_input_grad(1), of_bias = context->needs_input_grad(2);
    if (!of_weight && !c10::GradMode::is_enabled()) {
      auto& queue = detail::held_state<WeightGradientQueue>(context);
      queue.push(weight, [gradient, in = input.detach()] { return weight_gradient(gradient, in); });
      queue.push(bias, [gradient] { return as_rows(gradient).sum(0); });
    }
    return {context->needs_input_grad(0) ? at::matmul(gradient, weight) : at::Tensor(),
            of_weight ? weight_gradient(gradient, input) : at::Tensor(),
            of_bias ? as_rows(gradient).sum(0) : at::Tensor(),
            {}};
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  auto queue = WeightGradientQueue::current();
  if (queue == nullptr) return at::linear(input, weight, bias);
  const auto cast = [device = input.device().type()](const at::Tensor& tensor) {
    return detail::autocasted(tensor, device);
  };
  const at::Tensor in = cast(input), kernel = cast(weight), offset = cast(bias);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return PutOffLinear::apply(in, kernel, offset, std::move(queue));
}

}  // namespace bunchtrain::ops
