// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time: the baseline cannot stream.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mpi/streaming.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <hwy/cache_control.h>

#include <cstdint>
#include <cstring>

#include "mpi/streaming.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::comm::detail {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  const hn::ScalableTag<std::uint8_t> tag;
  auto* out = reinterpret_cast<std::uint8_t*>(to);
  const auto* in = reinterpret_cast<const std::uint8_t*>(from);
  std::size_t i = 0;
  for (; i + hn::Lanes(tag) <= bytes; i += hn::Lanes(tag)) hn::Stream(hn::LoadU(tag, in + i), tag, out + i);
  std::memcpy(out + i, in + i, bytes - i);
}

void add(float* values, const float* other, float* to, std::size_t count) {
  const hn::ScalableTag<float> tag;
  std::size_t i = 0;
  for (; i + hn::Lanes(tag) <= count; i += hn::Lanes(tag)) {
    const auto sums = hn::Add(hn::LoadU(tag, values + i), hn::LoadU(tag, other + i));
    hn::StoreU(sums, tag, values + i);
    hn::Stream(sums, tag, to + i);
  }
  for (; i < count; ++i) to[i] = values[i] += other[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::comm::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::comm::detail {

HWY_EXPORT(copy);
HWY_EXPORT(add);

void stream_copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  HWY_DYNAMIC_DISPATCH(copy)(to, from, bytes);
}

void add_and_stream(float* values, const float* other, float* to, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(add)(values, other, to, count);
}

void finish_streams() { hwy::FlushStream(); }

}  // namespace bunchtrain::comm::detail
#endif  // HWY_ONCE
