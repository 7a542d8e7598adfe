// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/step_context.hpp"

#include <utility>

namespace bunchtrain::nn {
namespace {
thread_local const StepContext* innermost = nullptr;
}

StepContext::StepContext(std::uint64_t seed, std::int64_t step, at::Tensor sample_ids,
                         at::Tensor step_in_memory)
    : seed_(seed),
      step_(step),
      sample_ids_(std::move(sample_ids)),
      step_in_memory_(std::move(step_in_memory)),
      outer_(std::exchange(innermost, this)) {}

StepContext::~StepContext() { innermost = outer_; }

const StepContext* StepContext::current() noexcept { return innermost; }

}  // namespace bunchtrain::nn
