// SPDX-License-Identifier: Apache-2.0
#pragma once
/// From the key that users give to the one that kernels take.

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/ops/keyed_random.hpp"
#include "keyed_stream.hpp"

namespace bunchtrain::ops::detail {

/// @param use keeps the numbers of dropout and of noise apart
/// @param device where they are drawn: a step in the memory of another one is not read there
/// @throws ConfigError unless a step in memory is one int64.
inline KeyedStream stream_of(std::uint64_t use, const RandomKey& key, c10::Device device) {
  KeyedStream stream{.seed = key.seed, .site = mix64(use, key.site), .step = key.step};
  const at::Tensor& step = key.step_in_memory;
  if (!step.defined()) return stream;
  expects(step.numel() == 1 && step.scalar_type() == at::kLong,
          "step_in_memory of a random key is one int64 number");
  if (device.is_cuda() && step.device() == device)
    stream.step_in_memory = step.const_data_ptr<std::int64_t>();
  return stream;
}

/// The CPU's: its steps are never replayed, and the number in the key is the one in memory.
inline CounterRandom random_of(const KeyedStream& stream) {
  return {stream.seed, mix64(stream.site, static_cast<std::uint64_t>(stream.step))};
}

}  // namespace bunchtrain::ops::detail
