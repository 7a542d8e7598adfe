// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/keyed_random.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "bunchtrain/core/random.hpp"

namespace bunchtrain::nn {
namespace {

/// Keeps these numbers apart from dropout's.
constexpr std::uint64_t kStream = 0x6b65796564;  // "keyed"

template <class Draw>
at::Tensor draw_rows(const StepContext& context, std::uint64_t site, std::int64_t columns, const Draw& draw) {
  const at::Tensor ids = context.sample_ids().to(at::kCPU, at::kLong).contiguous();
  const at::Tensor rows = at::empty({ids.numel(), columns}, at::kFloat);
  const auto* id = ids.const_data_ptr<std::int64_t>();
  auto* value = rows.mutable_data_ptr<float>();
  const CounterRandom stream =
      CounterRandom(context.seed(), kStream).child(site).child(static_cast<std::uint64_t>(context.step()));
  at::parallel_for(0, ids.numel(), 16, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const CounterRandom sample = stream.child(static_cast<std::uint64_t>(id[row]));
      for (std::int64_t i = 0; i < columns; ++i)
        value[row * columns + i] = static_cast<float>(draw(sample, static_cast<std::uint64_t>(i)));
    }
  });
  return rows;
}

}  // namespace

at::Tensor keyed_normal(const StepContext& context, std::uint64_t site, std::int64_t columns) {
  return draw_rows(context, site, columns,
                   [](const CounterRandom& random, std::uint64_t i) { return random.normal(i); });
}

at::Tensor keyed_uniform(const StepContext& context, std::uint64_t site, std::int64_t columns) {
  return draw_rows(context, site, columns,
                   [](const CounterRandom& random, std::uint64_t i) { return random.uniform(i); });
}

}  // namespace bunchtrain::nn
