// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/keyed_random.hpp"

#include "bunchtrain/ops/keyed_random.hpp"

namespace bunchtrain::nn {
namespace {

ops::RandomKey key_of(const StepContext& context, std::uint64_t site) {
  return {.seed = context.seed(),
          .step = context.step(),
          .site = site,
          .step_in_memory = context.step_in_memory()};
}

}  // namespace

at::Tensor keyed_normal(const StepContext& context, std::uint64_t site, std::int64_t columns) {
  return ops::keyed_normal(key_of(context, site), context.sample_ids(), columns);
}

at::Tensor keyed_uniform(const StepContext& context, std::uint64_t site, std::int64_t columns) {
  return ops::keyed_uniform(key_of(context, site), context.sample_ids(), columns);
}

}  // namespace bunchtrain::nn
