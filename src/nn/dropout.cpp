// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/dropout.hpp"

#include <ATen/ops/arange.h>
#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/ops/dropout.hpp"

namespace bunchtrain::nn {

DropoutImpl::DropoutImpl(DropoutOptions options) : options_(options) {
  if (!(options_.probability >= 0 && options_.probability < 1)) {
    throw ConfigError("dropout", fmt::to_string(options_.probability),
                      "a probability, at least 0 and below 1");
  }
}

at::Tensor DropoutImpl::forward(const at::Tensor& input) {
  if (!is_training() || options_.probability == 0) return input;
  const StepContext* context = StepContext::current();
  const at::Tensor ids =
      context ? context->sample_ids() : at::arange(input.size(0), input.options().dtype(at::kLong));
  if (ids.numel() != input.size(0)) {
    throw ConfigError(
        fmt::format("dropout got {} rows in a step of {} samples; give StepContext the ids of this batch",
                    input.size(0), ids.numel()));
  }
  if (input.numel() == 0) return input;
  const ops::RandomKey key{.seed = context ? context->seed() : 0,
                           .step = context ? context->step() : calls_++,
                           .site = options_.site,
                           .step_in_memory = context ? context->step_in_memory() : at::Tensor()};
  std::int64_t first_element = 0;
  if (partition() && input.dim() == 5)
    first_element =
        cut_of(input).of(partition()->rank()).begin * c10::multiply_integers(input.sizes().slice(2));
  return ops::dropout(input, ops::dropout_keys(key, ids, input.device()), options_.probability,
                      first_element);
}

}  // namespace bunchtrain::nn
