// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/linear.hpp"

#include <ATen/ops/zeros.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/linear.hpp"

namespace bunchtrain::nn {

LinearImpl::LinearImpl(LinearOptions options) {
  expects(options.in > 0 && options.out > 0, "a linear layer needs at least one input and one output");
  weight = register_parameter("weight", at::zeros({options.out, options.in}));
  bias = register_parameter("bias", at::zeros({options.out}));
}

at::Tensor LinearImpl::forward(const at::Tensor& input) { return ops::linear(input, weight, bias); }

}  // namespace bunchtrain::nn
