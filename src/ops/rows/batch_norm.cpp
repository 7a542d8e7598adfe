// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/batch_norm.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include "batch_norm_statistics.hpp"
#include "bunchtrain/core/error.hpp"
#include "held_state.hpp"

namespace bunchtrain::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What the backward pass needs besides its tensors.
struct BatchNormState {
  detail::RowNorm row_norm;
  at::Tensor mask;
  std::shared_ptr<StatisticsReducer> reducer;
};

/// What a call is made of besides differentiable tensors.
struct BatchNormCall {
  const BatchNormTensors* norm;
  at::Tensor mask;  ///< [N], undefined = all rows count
  bool relu;
};

/// Batch norm of [N, C] rows.
class BatchNormFunction : public torch::autograd::Function<BatchNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& rows, const at::Tensor& weight,
                            const at::Tensor& /*bias*/, const BatchNormCall& call) {
    auto state = std::make_shared<BatchNormState>(BatchNormState{
        detail::make_row_norm(*call.norm, rows, call.mask, call.relu), call.mask, call.norm->reducer});
    context->save_for_backward({rows, weight});
    at::Tensor normalised = detail::normalise_rows(rows, state->row_norm.normaliser);
    detail::hold_state(context, std::move(state));
    return normalised;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto& state = detail::held_state<BatchNormState>(context);
    const auto saved = context->get_saved_variables();
    const at::Tensor &rows = saved[0], &weight = saved[1];
    const at::Tensor gradient = gradients[0].contiguous();

    const detail::NormGradients norm =
        detail::row_norm_gradients(state.row_norm, gradient, rows, weight, state.reducer.get());
    const at::Tensor input = detail::normalise_rows_backward(gradient, rows, state.mask,
                                                             state.row_norm.normaliser, norm.correction);
    return {input, norm.weight, norm.bias, {}};
  }
};

void check_input(const at::Tensor& input, const std::optional<at::Tensor>& row_mask, std::int64_t channels) {
  if (input.dim() < 2 || input.size(-1) != channels || !input.is_floating_point()) {
    throw ConfigError(
        fmt::format("batch norm expects floating-point [..., {}], channels last; the input is {} [{}]",
                    channels, c10::toString(input.scalar_type()), fmt::join(input.sizes(), ", ")));
  }
  if (row_mask && (row_mask->scalar_type() != at::kBool ||
                   row_mask->sizes() != input.sizes().slice(0, input.dim() - 1))) {
    throw ConfigError(fmt::format("the row mask of batch norm must be bool [{}]; it is {} [{}]",
                                  fmt::join(input.sizes().slice(0, input.dim() - 1), ", "),
                                  c10::toString(row_mask->scalar_type()),
                                  fmt::join(row_mask->sizes(), ", ")));
  }
}

}  // namespace

at::Tensor batch_norm(const at::Tensor& input, const BatchNormTensors& norm,
                      const std::optional<at::Tensor>& row_mask, bool relu) {
  const std::int64_t channels = norm.weight.size(0);
  check_input(input, row_mask, channels);
  const at::Tensor rows = input.contiguous().reshape({-1, channels});
  const at::Tensor mask = row_mask ? row_mask->contiguous().reshape({-1}) : at::Tensor();
  return BatchNormFunction::apply(rows, norm.weight, norm.bias, BatchNormCall{&norm, mask, relu})
      .reshape(input.sizes());
}

}  // namespace bunchtrain::ops
