// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "edge_conv/cpu/edge_simd.cpp"
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

/// 16 bits in memory as the lower halves of the lanes of a vector of floats' bits.
template <class Tag>
using Bits = hn::Rebind<std::uint32_t, Tag>;

template <class Tag>
HWY_INLINE hn::Vec<Bits<Tag>> load_bits(Tag, const std::uint16_t* from) {
  return hn::PromoteTo(Bits<Tag>(), hn::LoadU(hn::Rebind<std::uint16_t, Tag>(), from));
}

template <class Tag>
HWY_INLINE void store_bits(hn::Vec<Bits<Tag>> bits, Tag, std::uint16_t* to) {
  const hn::Rebind<std::uint16_t, Tag> narrow;
  hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(hn::Rebind<std::int32_t, Tag>(), bits)), narrow, to);
}

template <class Tag>
HWY_INLINE hn::Vec<Tag> load(Tag tag, const Bf16* from) {
  return hn::BitCast(tag, hn::ShiftLeft<16>(load_bits(tag, &from->bits)));
}

// Both conversions of float16 by the arithmetic of integers: Highway's own round towards zero and lose
// infinities where the processor has none.

template <class Tag>
HWY_INLINE hn::Vec<Tag> load(Tag tag, const Fp16* from) {
  const Bits<Tag> whole;
  const auto bits = load_bits(tag, &from->bits);
  const auto exponent_and_mantissa = hn::ShiftLeft<13>(hn::And(bits, hn::Set(whole, 0x7FFFu)));
  const auto exponent = hn::And(exponent_and_mantissa, hn::Set(whole, 0x7C00u << 13));
  const auto rebased = hn::Add(exponent_and_mantissa, hn::Set(whole, (127u - 15u) << 23));
  // Infinity and NaN keep the greatest exponent.
  const auto special = hn::Add(rebased, hn::Set(whole, (128u - 16u) << 23));
  // The mantissa of a subnormal number behind a leading one, which is taken off again.
  const auto least = hn::BitCast(tag, hn::Set(whole, (127u - 14u) << 23));
  const auto subnormal =
      hn::BitCast(whole, hn::Sub(hn::BitCast(tag, hn::Add(rebased, hn::Set(whole, 1u << 23))), least));
  const auto magnitude =
      hn::IfThenElse(hn::Eq(exponent, hn::Set(whole, 0x7C00u << 13)), special,
                     hn::IfThenElse(hn::Eq(exponent, hn::Zero(whole)), subnormal, rebased));
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(whole, 0x8000u)));
  return hn::BitCast(tag, hn::Or(magnitude, sign));
}

template <class Tag>
HWY_INLINE void store(hn::Vec<Tag> value, Tag tag, hn::TFromD<Tag>* to) {
  hn::StoreU(value, tag, to);
}

template <class Tag>
HWY_INLINE void store(hn::Vec<Tag> value, Tag tag, Bf16* to) {
  const Bits<Tag> whole;
  const auto bits = hn::BitCast(whole, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(whole, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(whole, 0x7FFFu))));
  const auto is_nan = hn::Gt(hn::And(bits, hn::Set(whole, 0x7FFFFFFFu)), hn::Set(whole, 0x7F800000u));
  store_bits(hn::IfThenElse(is_nan, hn::Set(whole, 0x7FC0u), rounded), tag, &to->bits);
}

template <class Tag>
HWY_INLINE void store(hn::Vec<Tag> value, Tag tag, Fp16* to) {
  const Bits<Tag> whole;
  const auto bits = hn::BitCast(whole, value);
  const auto magnitude = hn::And(bits, hn::Set(whole, 0x7FFFFFFFu));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(whole, 1u));
  const auto rebased = hn::Sub(hn::Add(magnitude, odd), hn::Set(whole, ((127u - 15u) << 23) - 0xFFFu));
  const auto normal = hn::ShiftRight<13>(rebased);
  // Adding 0.5 moves a subnormal number's mantissa to the lowest bits, and rounds it.
  const auto half = hn::BitCast(tag, hn::Set(whole, 126u << 23));
  const auto subnormal =
      hn::Sub(hn::BitCast(whole, hn::Add(hn::BitCast(tag, magnitude), half)), hn::Set(whole, 126u << 23));
  const auto is_subnormal = hn::Lt(magnitude, hn::Set(whole, (127u - 14u) << 23));
  const auto is_nan = hn::Gt(magnitude, hn::Set(whole, 0x7F800000u));
  const auto is_large = hn::Gt(magnitude, hn::Set(whole, ((127u + 16u) << 23) - 1u));
  const auto special = hn::IfThenElse(is_nan, hn::Set(whole, 0x7E00u), hn::Set(whole, 0x7C00u));
  const auto chosen = hn::IfThenElse(is_large, special, hn::IfThenElse(is_subnormal, subnormal, normal));
  const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(whole, 0x8000u));
  store_bits(hn::Or(chosen, sign), tag, &to->bits);
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
void spread(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const T* u, const T* v,
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

void activate(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const float* terms,
              const std::int32_t* indices, float* out) {
  const std::int64_t channels = shape.channels;
  for (std::int64_t i = begin; i < end; ++i) {
    const float* own = terms + i * 2 * channels;
    const std::int32_t* others = indices + i * shape.neighbours;
    for (std::int64_t n = 0; n < shape.neighbours; ++n, out += channels) {
      const float* other = terms + others[n] * 2 * channels + channels;
      for_channels<float>(channels, [&](auto tag, std::int64_t c) HWY_ATTR {
        const auto sum = hn::Add(hn::LoadU(tag, own + c), hn::LoadU(tag, other + c));
        hn::StoreU(hn::Max(sum, hn::Zero(tag)), tag, out + c);
      });
    }
  }
}

template <class T, class Sum>
HWY_INLINE void add_to_row(std::int64_t channels, const T* row, Sum* sum) {
  for_channels<Sum>(channels, [&](auto tag, std::int64_t c) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(tag, sum + c), load(tag, row + c)), tag, sum + c);
  });
}

template <class T, class Sum>
void collect(const EdgeShape& shape, const T* edges, const std::int32_t* indices, Sum* u_sum, Sum* v_sum) {
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

template <class T>
HWY_INLINE void round_to(const float* from, std::int64_t count, T* to) {
  for_channels<float>(
      count, [&](auto tag, std::int64_t c) HWY_ATTR { store(hn::LoadU(tag, from + c), tag, to + c); });
}

void spread_float(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const float* u,
                  const float* v, const std::int32_t* indices, float* out) {
  spread<float>(shape, begin, end, u, v, indices, out);
}
void spread_double(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const double* u,
                   const double* v, const std::int32_t* indices, double* out) {
  spread<double>(shape, begin, end, u, v, indices, out);
}
void spread_bf16(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const Bf16* u, const Bf16* v,
                 const std::int32_t* indices, Bf16* out) {
  spread<float>(shape, begin, end, u, v, indices, out);
}
void spread_fp16(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const Fp16* u, const Fp16* v,
                 const std::int32_t* indices, Fp16* out) {
  spread<float>(shape, begin, end, u, v, indices, out);
}
void collect_float(const EdgeShape& shape, const float* edges, const std::int32_t* indices, float* u,
                   float* v) {
  collect(shape, edges, indices, u, v);
}
void collect_double(const EdgeShape& shape, const double* edges, const std::int32_t* indices, double* u,
                    double* v) {
  collect(shape, edges, indices, u, v);
}
void collect_bf16(const EdgeShape& shape, const Bf16* edges, const std::int32_t* indices, float* u,
                  float* v) {
  collect(shape, edges, indices, u, v);
}
void collect_fp16(const EdgeShape& shape, const Fp16* edges, const std::int32_t* indices, float* u,
                  float* v) {
  collect(shape, edges, indices, u, v);
}
void round_to_bf16(const float* from, std::int64_t count, Bf16* to) { round_to(from, count, to); }
void round_to_fp16(const float* from, std::int64_t count, Fp16* to) { round_to(from, count, to); }

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(spread_float);
HWY_EXPORT(spread_double);
HWY_EXPORT(spread_bf16);
HWY_EXPORT(spread_fp16);
HWY_EXPORT(activate);
HWY_EXPORT(collect_float);
HWY_EXPORT(collect_double);
HWY_EXPORT(collect_bf16);
HWY_EXPORT(collect_fp16);
HWY_EXPORT(round_to_bf16);
HWY_EXPORT(round_to_fp16);

template <>
void spread_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const float* u,
                   const float* v, const std::int32_t* indices, float* out) {
  HWY_DYNAMIC_DISPATCH(spread_float)(shape, begin, end, u, v, indices, out);
}
template <>
void spread_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const double* u,
                   const double* v, const std::int32_t* indices, double* out) {
  HWY_DYNAMIC_DISPATCH(spread_double)(shape, begin, end, u, v, indices, out);
}
template <>
void spread_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const Bf16* u, const Bf16* v,
                   const std::int32_t* indices, Bf16* out) {
  HWY_DYNAMIC_DISPATCH(spread_bf16)(shape, begin, end, u, v, indices, out);
}
template <>
void spread_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const Fp16* u, const Fp16* v,
                   const std::int32_t* indices, Fp16* out) {
  HWY_DYNAMIC_DISPATCH(spread_fp16)(shape, begin, end, u, v, indices, out);
}
void activate_points(const EdgeShape& shape, std::int64_t begin, std::int64_t end, const float* terms,
                     const std::int32_t* indices, float* out) {
  HWY_DYNAMIC_DISPATCH(activate)(shape, begin, end, terms, indices, out);
}
template <>
void collect_set(const EdgeShape& shape, const float* edges, const std::int32_t* indices, float* u_sum,
                 float* v_sum) {
  HWY_DYNAMIC_DISPATCH(collect_float)(shape, edges, indices, u_sum, v_sum);
}
template <>
void collect_set(const EdgeShape& shape, const double* edges, const std::int32_t* indices, double* u_sum,
                 double* v_sum) {
  HWY_DYNAMIC_DISPATCH(collect_double)(shape, edges, indices, u_sum, v_sum);
}
template <>
void collect_set(const EdgeShape& shape, const Bf16* edges, const std::int32_t* indices, float* u_sum,
                 float* v_sum) {
  HWY_DYNAMIC_DISPATCH(collect_bf16)(shape, edges, indices, u_sum, v_sum);
}
template <>
void collect_set(const EdgeShape& shape, const Fp16* edges, const std::int32_t* indices, float* u_sum,
                 float* v_sum) {
  HWY_DYNAMIC_DISPATCH(collect_fp16)(shape, edges, indices, u_sum, v_sum);
}
template <>
void round_sums(const float* from, std::int64_t count, Bf16* to) {
  HWY_DYNAMIC_DISPATCH(round_to_bf16)(from, count, to);
}
template <>
void round_sums(const float* from, std::int64_t count, Fp16* to) {
  HWY_DYNAMIC_DISPATCH(round_to_fp16)(from, count, to);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
