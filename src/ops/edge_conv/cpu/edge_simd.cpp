// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "edge_simd.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <algorithm>
#include <cstring>

#include "edge_simd.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Elements are loaded into and stored from vectors of the type that sums are made in.

template <class Tag>
HWY_INLINE hn::Vec<Tag> load(Tag tag, const hn::TFromD<Tag>* from) {
  return hn::LoadU(tag, from);
}

template <class Tag>
HWY_INLINE hn::Vec<Tag> load(Tag tag, const Bfloat16Bits* from) {
  const hn::Rebind<std::uint16_t, Tag> half;
  const hn::Rebind<std::uint32_t, Tag> whole;
  const auto bits = hn::PromoteTo(whole, hn::LoadU(half, reinterpret_cast<const std::uint16_t*>(from)));
  return hn::BitCast(tag, hn::ShiftLeft<16>(bits));
}

template <class Tag>
HWY_INLINE void store(hn::Vec<Tag> value, Tag tag, hn::TFromD<Tag>* to) {
  hn::StoreU(value, tag, to);
}

template <class Tag>
HWY_INLINE void store(hn::Vec<Tag> value, Tag, Bfloat16Bits* to) {
  const hn::Rebind<std::uint16_t, Tag> half;
  const hn::Rebind<std::uint32_t, Tag> whole;
  const auto bits = hn::BitCast(whole, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(whole, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(whole, 0x7FFFu))));
  const auto is_nan = hn::Gt(hn::And(bits, hn::Set(whole, 0x7FFFFFFFu)), hn::Set(whole, 0x7F800000u));
  const auto chosen = hn::IfThenElse(is_nan, hn::Set(whole, 0x7FC0u), rounded);
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(hn::Rebind<std::int32_t, Tag>(), chosen)), half,
             reinterpret_cast<std::uint16_t*>(to));
}

/// Calls `body(tag, c)` for the whole vectors of a row of channels and then lane by lane for the rest.
template <class Sum, class Body>
HWY_INLINE void for_channels(std::int64_t channels, const Body& body) {
  const hn::ScalableTag<Sum> vector;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(vector));
  std::int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) body(vector, c);
  const hn::CappedTag<Sum, 1> single;
  for (; c < channels; ++c) body(single, c);
}

template <class Sum, class T>
void SpreadPoints(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const T* u, const T* v,
                  const std::int32_t* indices, T* out) {
  const std::int64_t channels = shape.channels;
  for (std::int64_t edge = begin * shape.neighbours; edge < end * shape.neighbours; ++edge) {
    const T* from = v + indices[edge] * channels;
    T* to = out + edge * channels;
    if (!u) {
      std::memcpy(to, from, static_cast<std::size_t>(channels) * sizeof(T));
      continue;
    }
    const T* own = u + edge / shape.neighbours * channels;
    for_channels<Sum>(channels, [&](auto tag, std::int64_t c) HWY_ATTR {
      store(hn::Add(load(tag, own + c), load(tag, from + c)), tag, to + c);
    });
  }
}

template <class T, class Sum>
HWY_INLINE void add_to_row(std::int64_t channels, const T* row, Sum* sum) {
  for_channels<Sum>(channels, [&](auto tag, std::int64_t c) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(tag, sum + c), load(tag, row + c)), tag, sum + c);
  });
}

template <class T, class Sum>
void CollectSet(const EdgeShape& shape, const T* edges, const std::int32_t* indices, Sum* u_sum, Sum* v_sum) {
  const std::int64_t channels = shape.channels;
  std::fill_n(v_sum, shape.points * channels, Sum{0});
  if (u_sum) std::fill_n(u_sum, shape.points * channels, Sum{0});
  for (std::int64_t i = 0; i < shape.points; ++i) {
    for (std::int64_t n = 0; n < shape.neighbours; ++n) {
      const std::int64_t edge = i * shape.neighbours + n;
      const T* row = edges + edge * channels;
      if (u_sum) add_to_row(channels, row, u_sum + i * channels);
      add_to_row(channels, row, v_sum + indices[edge] * channels);
    }
  }
}

void SpreadFloat(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const float* u, const float* v,
                 const std::int32_t* indices, float* out) {
  SpreadPoints<float>(shape, begin, end, u, v, indices, out);
}
void SpreadDouble(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const double* u,
                  const double* v, const std::int32_t* indices, double* out) {
  SpreadPoints<double>(shape, begin, end, u, v, indices, out);
}
void SpreadBfloat16(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const Bfloat16Bits* u,
                    const Bfloat16Bits* v, const std::int32_t* indices, Bfloat16Bits* out) {
  SpreadPoints<float>(shape, begin, end, u, v, indices, out);
}
void CollectFloat(const EdgeShape& shape, const float* edges, const std::int32_t* indices, float* u,
                  float* v) {
  CollectSet(shape, edges, indices, u, v);
}
void CollectDouble(const EdgeShape& shape, const double* edges, const std::int32_t* indices, double* u,
                   double* v) {
  CollectSet(shape, edges, indices, u, v);
}
void CollectBfloat16(const EdgeShape& shape, const Bfloat16Bits* edges, const std::int32_t* indices, float* u,
                     float* v) {
  CollectSet(shape, edges, indices, u, v);
}
void RoundToBfloat16(const float* from, std::int64_t count, Bfloat16Bits* to) {
  for_channels<float>(
      count, [&](auto tag, std::int64_t c) HWY_ATTR { store(hn::LoadU(tag, from + c), tag, to + c); });
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(SpreadFloat);
HWY_EXPORT(SpreadDouble);
HWY_EXPORT(SpreadBfloat16);
HWY_EXPORT(CollectFloat);
HWY_EXPORT(CollectDouble);
HWY_EXPORT(CollectBfloat16);
HWY_EXPORT(RoundToBfloat16);

template <>
void spread_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const float* u,
                   const float* v, const std::int32_t* indices, float* out) {
  HWY_DYNAMIC_DISPATCH(SpreadFloat)(shape, begin, end, u, v, indices, out);
}
template <>
void spread_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const double* u,
                   const double* v, const std::int32_t* indices, double* out) {
  HWY_DYNAMIC_DISPATCH(SpreadDouble)(shape, begin, end, u, v, indices, out);
}
template <>
void spread_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const Bfloat16Bits* u,
                   const Bfloat16Bits* v, const std::int32_t* indices, Bfloat16Bits* out) {
  HWY_DYNAMIC_DISPATCH(SpreadBfloat16)(shape, begin, end, u, v, indices, out);
}
template <>
void collect_set(const EdgeShape& shape, const float* edges, const std::int32_t* indices, float* u_sum,
                 float* v_sum) {
  HWY_DYNAMIC_DISPATCH(CollectFloat)(shape, edges, indices, u_sum, v_sum);
}
template <>
void collect_set(const EdgeShape& shape, const double* edges, const std::int32_t* indices, double* u_sum,
                 double* v_sum) {
  HWY_DYNAMIC_DISPATCH(CollectDouble)(shape, edges, indices, u_sum, v_sum);
}
template <>
void collect_set(const EdgeShape& shape, const Bfloat16Bits* edges, const std::int32_t* indices, float* u_sum,
                 float* v_sum) {
  HWY_DYNAMIC_DISPATCH(CollectBfloat16)(shape, edges, indices, u_sum, v_sum);
}
void round_to_bfloat16(const float* from, std::int64_t count, Bfloat16Bits* to) {
  HWY_DYNAMIC_DISPATCH(RoundToBfloat16)(from, count, to);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
