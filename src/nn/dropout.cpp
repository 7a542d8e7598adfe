// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/dropout.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
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
  const at::Tensor keys = ops::dropout_keys(key, ids, input.device());
  if (partition() && input.dim() == 5) return of_slab(input, keys);
  return ops::dropout(input, keys, options_.probability);
}

at::Tensor DropoutImpl::of_slab(const at::Tensor& input, const at::Tensor& keys) {
  const ImageCut& cut = cut_of(input);
  const auto [x, y, z] = box_of(cut);
  const std::int64_t plane = cut[1].extent() * cut[2].extent() * input.size(4);
  if (cut[1].ranks() == 1 && cut[2].ranks() == 1)
    return ops::dropout(input, keys, options_.probability, x.begin * plane);
  // Numbers lie in the order of the whole image's cells: drawn for whole planes of x, of which the slab is a window.
  const at::Tensor planes =
      at::constant_pad_nd(input, {0, 0, z.begin, cut[2].extent() - z.end, y.begin, cut[1].extent() - y.end});
  return ops::dropout(planes, keys, options_.probability, x.begin * plane)
      .narrow(2, y.begin, y.size())
      .narrow(3, z.begin, z.size())
      .contiguous();
}

}  // namespace bunchtrain::nn
