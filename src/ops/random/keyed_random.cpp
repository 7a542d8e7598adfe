// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/keyed_random.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "keyed_random_cuda.hpp"
#include "random/stream_of.hpp"

namespace bunchtrain::ops {
namespace {

/// Keeps these numbers apart from dropout's.
constexpr std::uint64_t kStream = 0x6b65796564;  // "keyed"

at::Tensor draw_rows(const RandomKey& key, const at::Tensor& sample_ids, std::int64_t columns, bool normal) {
  const at::Tensor ids = sample_ids.to(at::kLong).contiguous();
  const detail::KeyedStream stream = detail::stream_of(kStream, key, ids.device());
  if (ids.is_cuda()) return detail::keyed_random_cuda(ids, stream, columns, normal);
  const CounterRandom random = detail::random_of(stream);
  at::Tensor rows = at::empty({ids.numel(), columns}, at::kFloat);
  const auto* id = ids.const_data_ptr<std::int64_t>();
  auto* value = rows.mutable_data_ptr<float>();
  at::parallel_for(0, ids.numel(), 16, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const CounterRandom sample = random.child(static_cast<std::uint64_t>(id[row]));
      for (std::int64_t i = 0; i < columns; ++i) {
        const auto position = static_cast<std::uint64_t>(i);
        value[row * columns + i] =
            static_cast<float>(normal ? sample.normal(position) : sample.uniform(position));
      }
    }
  });
  return rows;
}

}  // namespace

at::Tensor keyed_normal(const RandomKey& key, const at::Tensor& sample_ids, std::int64_t columns) {
  return draw_rows(key, sample_ids, columns, true);
}

at::Tensor keyed_uniform(const RandomKey& key, const at::Tensor& sample_ids, std::int64_t columns) {
  return draw_rows(key, sample_ids, columns, false);
}

}  // namespace bunchtrain::ops
