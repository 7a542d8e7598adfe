// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/dropout.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::nn {
namespace {

/// Keeps dropout's numbers apart from those of other uses of the same seed.
constexpr std::uint64_t kDropoutStream = 0x64726f706f7574;  // "dropout"
constexpr std::int64_t kRowsPerThread = 16;

/// What the numbers of one call are drawn from.
struct Key {
  std::uint64_t seed;
  std::int64_t step;
  at::Tensor sample_ids;
};

/// [B, n] float32: 0 or 1 / (1 - probability).
at::Tensor draw_factors(const Key& key, const DropoutOptions& options, std::int64_t elements) {
  const at::Tensor ids = key.sample_ids.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor factors = at::empty({ids.numel(), elements}, at::kFloat);
  const auto* id = ids.const_data_ptr<std::int64_t>();
  auto* factor = factors.mutable_data_ptr<float>();
  const auto kept = static_cast<float>(1.0 / (1.0 - options.probability));
  const CounterRandom site =
      CounterRandom(key.seed, kDropoutStream).child(options.site).child(static_cast<std::uint64_t>(key.step));
  at::parallel_for(0, ids.numel(), kRowsPerThread, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const CounterRandom sample = site.child(static_cast<std::uint64_t>(id[row]));
      for (std::int64_t i = 0; i < elements; ++i) {
        const bool dropped = sample.uniform(static_cast<std::uint64_t>(i)) < options.probability;
        factor[row * elements + i] = dropped ? 0.0F : kept;
      }
    }
  });
  return factors;
}

}  // namespace

DropoutImpl::DropoutImpl(DropoutOptions options) : options_(options) {
  if (!(options_.probability >= 0 && options_.probability < 1)) {
    throw ConfigError("dropout", fmt::to_string(options_.probability),
                      "a probability, at least 0 and below 1");
  }
}

at::Tensor DropoutImpl::forward(const at::Tensor& input) {
  if (!is_training() || options_.probability == 0) return input;
  const StepContext* context = StepContext::current();
  const Key key = context ? Key{context->seed(), context->step(), context->sample_ids()}
                          : Key{0, calls_++, at::arange(input.size(0), at::kLong)};
  if (key.sample_ids.numel() != input.size(0)) {
    throw ConfigError(
        fmt::format("dropout got {} rows in a step of {} samples; give StepContext the ids of this batch",
                    input.size(0), key.sample_ids.numel()));
  }
  if (input.size(0) == 0) return input;
  const at::Tensor factors = draw_factors(key, options_, input.numel() / input.size(0));
  return input.mul(factors.reshape(input.sizes()).to(input.device(), input.scalar_type()));
}

}  // namespace bunchtrain::nn
