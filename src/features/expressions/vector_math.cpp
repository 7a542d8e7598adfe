// SPDX-License-Identifier: Apache-2.0
// Compiled once per instruction set by Highway; the one fit for the processor is chosen at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "expressions/vector_math.cpp"
#include <hwy/foreach_target.h>
// The order matters: foreach_target.h comes before highway.h.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "vector_math.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::features::detail::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

HWY_INLINE V constant(float value) { return hn::Set(D(), value); }
HWY_INLINE V truth(M mask) { return hn::IfThenElseZero(mask, constant(1.0f)); }
// Not of equal: Highway's Ne may call NaN equal to everything.
HWY_INLINE M differ(V x, V y) { return hn::Not(hn::Eq(x, y)); }
HWY_INLINE M is_true(V x) { return differ(x, hn::Zero(D())); }

// Highway's functions state a range; what lies outside it is mended here, so that the
// results are those of <cmath>.
HWY_INLINE V log_of(V x) {
  const V zero = hn::Zero(D());
  const M ordinary = hn::And(hn::Gt(x, zero), hn::Lt(x, constant(kInfinity)));
  const V inside = hn::Log(D(), hn::IfThenElse(ordinary, x, constant(1.0f)));
  const V outside =
      hn::IfThenElse(hn::Eq(x, zero), constant(-kInfinity), hn::IfThenElse(hn::Lt(x, zero), hn::NaN(D()), x));
  return hn::IfThenElse(ordinary, inside, outside);
}

HWY_INLINE V exp_of(V x) {
  constexpr float kLargest = 88.72283f, kSmallest = -103.0f;
  const V clamped = hn::Max(hn::Min(x, constant(kLargest)), constant(kSmallest));
  V y = hn::Exp(D(), hn::IfThenElse(hn::IsNaN(x), hn::Zero(D()), clamped));
  y = hn::IfThenElse(hn::Gt(x, constant(kLargest)), constant(kInfinity), y);
  y = hn::IfThenElse(hn::Lt(x, constant(kSmallest)), hn::Zero(D()), y);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// exp(|x|) / 2 from exp(|x| / 2): halving is exact, and nothing overflows before the result itself.
HWY_INLINE V half_exp_of_magnitude(V x) {
  const V root = exp_of(hn::Mul(hn::Abs(x), constant(0.5f)));
  return hn::Mul(hn::Mul(root, constant(0.5f)), root);
}

HWY_INLINE V cosh_of(V x) {
  const V grown = half_exp_of_magnitude(x);
  return hn::Add(grown, hn::Div(constant(0.25f), grown));
}

HWY_INLINE V sinh_of(V x) {
  const V magnitude = hn::Abs(x);
  const V grown = half_exp_of_magnitude(x);
  const V far = hn::Sub(grown, hn::Div(constant(0.25f), grown));
  const V near_x = hn::Min(magnitude, constant(1.0f));
  const V square = hn::Mul(near_x, near_x);  // Taylor series: exponentials would cancel
  V series = hn::MulAdd(square, constant(1.0f / 362880), constant(1.0f / 5040));
  series = hn::MulAdd(square, series, constant(1.0f / 120));
  series = hn::MulAdd(square, series, constant(1.0f / 6));
  const V near = hn::MulAdd(hn::Mul(square, near_x), series, near_x);
  const V y = hn::IfThenElse(hn::Lt(magnitude, constant(1.0f)), near, far);
  return hn::IfThenElse(hn::IsNaN(x), x, hn::CopySign(y, x));
}

HWY_INLINE V tanh_of(V x) {
  const V magnitude = hn::Min(hn::Abs(x), constant(10.0f));  // 1 within float precision
  const V y = hn::CopySign(hn::Tanh(D(), magnitude), x);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

HWY_INLINE V asinh_of(V x) {
  const V magnitude = hn::Abs(x);
  const V bounded = hn::Min(magnitude, constant(1e18f));
  const V square = hn::Mul(bounded, bounded);
  // asinh(x) = log1p(x + x^2 / (1 + sqrt(1 + x^2))): no cancellation at either end.
  const V rest = hn::Div(square, hn::Add(constant(1.0f), hn::Sqrt(hn::Add(constant(1.0f), square))));
  const V inner = hn::Log1p(D(), hn::Add(bounded, rest));
  const V huge = hn::Add(log_of(magnitude), constant(std::numbers::ln2_v<float>));
  V y = hn::IfThenElse(hn::Gt(magnitude, constant(1e18f)), huge, inner);
  y = hn::IfThenElse(hn::Lt(magnitude, constant(1e-4f)), magnitude, y);  // next term: x^3/6
  return hn::IfThenElse(hn::IsNaN(x), x, hn::CopySign(y, x));
}

HWY_INLINE V hypot_of(V x, V y) {  // scaled by the larger side: neither overflows nor vanishes
  const V a = hn::Abs(x), b = hn::Abs(y);
  const V large = hn::Max(a, b), small = hn::Min(a, b);
  const V ratio = hn::IfThenElse(hn::Gt(large, hn::Zero(D())), hn::Div(small, large), hn::Zero(D()));
  const V length = hn::Mul(large, hn::Sqrt(hn::MulAdd(ratio, ratio, constant(1.0f))));
  const V finite = hn::IfThenElse(hn::Or(hn::IsNaN(x), hn::IsNaN(y)), hn::NaN(D()), length);
  const M infinite = hn::Or(hn::IsInf(x), hn::IsInf(y));
  return hn::IfThenElse(infinite, constant(kInfinity), finite);
}

HWY_INLINE V atan2_of(V y, V x) {
  constexpr float kPi = std::numbers::pi_v<float>;
  const V a = hn::Abs(x), b = hn::Abs(y);
  const V large = hn::Max(a, b), small = hn::Min(a, b);
  V ratio = hn::IfThenElse(hn::Gt(large, hn::Zero(D())), hn::Div(small, large), hn::Zero(D()));
  ratio = hn::IfThenElse(hn::And(hn::IsInf(a), hn::IsInf(b)), constant(1.0f), ratio);
  V angle = hn::Atan(D(), ratio);  // of the triangle folded into the first octant
  angle = hn::IfThenElse(hn::Gt(b, a), hn::Sub(constant(kPi / 2), angle), angle);
  // CopySign of 1 also sees the sign of -0, as std::atan2 does.
  const M left = hn::Lt(hn::CopySign(constant(1.0f), x), hn::Zero(D()));
  angle = hn::IfThenElse(left, hn::Sub(constant(kPi), angle), angle);
  const V signed_angle = hn::CopySign(angle, y);
  return hn::IfThenElse(hn::Or(hn::IsNaN(x), hn::IsNaN(y)), hn::NaN(D()), signed_angle);
}

HWY_INLINE V wrap_of(V x) {
  constexpr float kTurn = 2 * std::numbers::pi_v<float>;
  constexpr float kTurnRest = static_cast<float>(2 * std::numbers::pi - static_cast<double>(kTurn));
  const V turns = hn::Round(hn::Mul(x, constant(1.0f / kTurn)));
  return hn::NegMulAdd(turns, constant(kTurnRest), hn::NegMulAdd(turns, constant(kTurn), x));
}

HWY_INLINE V sign_of(V x) {
  const V one = hn::IfThenElse(hn::Lt(x, hn::Zero(D())), constant(-1.0f), constant(1.0f));
  return hn::IfThenElse(hn::IsNaN(x), x, one);
}

template <class Function>
HWY_INLINE void map(const float* a, float* out, std::size_t count, Function function) {
  const D d;
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) hn::StoreU(function(hn::LoadU(d, a + i)), d, out + i);
}

template <class Function>
HWY_INLINE void map(const float* a, const float* b, float* out, std::size_t count, Function function) {
  const D d;
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    hn::StoreU(function(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
  }
}

HWY_NOINLINE void apply_unary(Op op, const float* a, float* out, std::size_t n) {
  switch (op) {
    case Op::negate:
      return map(a, out, n, [](V x) { return hn::Neg(x); });
    case Op::logical_not:
      return map(a, out, n, [](V x) { return truth(hn::Eq(x, hn::Zero(D()))); });
    case Op::log:
      return map(a, out, n, [](V x) { return log_of(x); });
    case Op::exp:
      return map(a, out, n, [](V x) { return exp_of(x); });
    case Op::sqrt:
      return map(a, out, n, [](V x) { return hn::Sqrt(x); });
    case Op::abs:
      return map(a, out, n, [](V x) { return hn::Abs(x); });
    case Op::sign:
      return map(a, out, n, [](V x) { return sign_of(x); });
    case Op::tanh:
      return map(a, out, n, [](V x) { return tanh_of(x); });
    case Op::sinh:
      return map(a, out, n, [](V x) { return sinh_of(x); });
    case Op::cosh:
      return map(a, out, n, [](V x) { return cosh_of(x); });
    case Op::asinh:
      return map(a, out, n, [](V x) { return asinh_of(x); });
    case Op::sin:
      return map(a, out, n, [](V x) { return hn::Sin(D(), x); });
    case Op::cos:
      return map(a, out, n, [](V x) { return hn::Cos(D(), x); });
    case Op::wrap:
      return map(a, out, n, [](V x) { return wrap_of(x); });
    default:
      return;
  }
}

HWY_NOINLINE void apply_binary(Op op, const float* a, const float* b, float* out, std::size_t n) {
  switch (op) {
    case Op::add:
      return map(a, b, out, n, [](V x, V y) { return hn::Add(x, y); });
    case Op::subtract:
      return map(a, b, out, n, [](V x, V y) { return hn::Sub(x, y); });
    case Op::multiply:
      return map(a, b, out, n, [](V x, V y) { return hn::Mul(x, y); });
    case Op::divide:
      return map(a, b, out, n, [](V x, V y) { return hn::Div(x, y); });
    case Op::less:
      return map(a, b, out, n, [](V x, V y) { return truth(hn::Lt(x, y)); });
    case Op::less_equal:
      return map(a, b, out, n, [](V x, V y) { return truth(hn::Le(x, y)); });
    case Op::greater:
      return map(a, b, out, n, [](V x, V y) { return truth(hn::Gt(x, y)); });
    case Op::greater_equal:
      return map(a, b, out, n, [](V x, V y) { return truth(hn::Ge(x, y)); });
    case Op::equal:
      return map(a, b, out, n, [](V x, V y) { return truth(hn::Eq(x, y)); });
    case Op::not_equal:
      return map(a, b, out, n, [](V x, V y) { return truth(differ(x, y)); });
    case Op::logical_and:
      return map(a, b, out, n, [](V x, V y) { return truth(hn::And(is_true(x), is_true(y))); });
    case Op::logical_or:
      return map(a, b, out, n, [](V x, V y) { return truth(hn::Or(is_true(x), is_true(y))); });
    case Op::hypot:
      return map(a, b, out, n, [](V x, V y) { return hypot_of(x, y); });
    case Op::atan2:
      return map(a, b, out, n, [](V x, V y) { return atan2_of(x, y); });
    case Op::min:
      return map(a, b, out, n, [](V x, V y) { return hn::IfThenElse(hn::Lt(y, x), y, x); });
    case Op::max:
      return map(a, b, out, n, [](V x, V y) { return hn::IfThenElse(hn::Lt(x, y), y, x); });
    default:
      return;
  }
}

void apply(Op op, const float* a, const float* b, float* out, std::size_t count) {
  if (num_arguments(op) == 2)
    apply_binary(op, a, b, out, count);
  else
    apply_unary(op, a, out, count);
}

bool standardise(const Standardisation& by, const float* values, float* out, std::size_t count) {
  const D d;
  const V minimum = constant(by.minimum), maximum = constant(by.maximum);
  M all_finite = hn::FirstN(d, hn::Lanes(d));
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    V x = hn::Mul(hn::Sub(hn::LoadU(d, values + i), constant(by.subtract)), constant(by.multiply));
    x = hn::IfThenElse(hn::Lt(x, minimum), minimum, x);
    x = hn::IfThenElse(hn::Gt(x, maximum), maximum, x);
    const M inside = hn::FirstN(d, count - i);
    all_finite = hn::And(all_finite, hn::Or(hn::IsFinite(x), hn::Not(inside)));
    hn::StoreU(x, d, out + i);
  }
  return hn::AllTrue(d, all_finite);
}

bool is_sound(const float* values, std::size_t count, bool nan_is_fine) {
  const D d;
  M sound = hn::FirstN(d, hn::Lanes(d));
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    const V x = hn::LoadU(d, values + i);
    const M bad = nan_is_fine ? hn::IsInf(x) : hn::Not(hn::IsFinite(x));
    sound = hn::AndNot(hn::And(bad, hn::FirstN(d, count - i)), sound);
  }
  return hn::AllTrue(d, sound);
}

bool nan_beside_number(const float* values, const float* beside, std::size_t count) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  M found = hn::FirstN(d, 0);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    found =
        hn::Or(found, hn::And(hn::IsNaN(hn::LoadU(d, values + i)), hn::IsFinite(hn::LoadU(d, beside + i))));
  if (!hn::AllFalse(d, found)) return true;
  for (; i < count; ++i)
    if (std::isnan(values[i]) && std::isfinite(beside[i])) return true;
  return false;
}

}  // namespace
}  // namespace bunchtrain::features::detail::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::features::detail {

HWY_EXPORT(apply);
HWY_EXPORT(standardise);
HWY_EXPORT(is_sound);
HWY_EXPORT(nan_beside_number);

void apply_vector(Op op, const float* a, const float* b, float* out, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(apply)(op, a, b, out, count);
}

bool standardise_vector(const Standardisation& by, const float* values, float* out, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(standardise)(by, values, out, count);
}

bool is_sound_vector(const float* values, std::size_t count, bool nan_is_fine) {
  return HWY_DYNAMIC_DISPATCH(is_sound)(values, count, nan_is_fine);
}

bool has_nan_beside_number(const float* values, const float* beside, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(nan_beside_number)(values, beside, count);
}

double sum_vector(const float* values, std::size_t count) {
  // Four chains fixed by position, not by vector width: the same sum on every processor.
  double partial[4] = {0, 0, 0, 0};
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) partial[lane] += static_cast<double>(values[i + lane]);
  }
  for (; i < count; ++i) partial[i % 4] += static_cast<double>(values[i]);
  return (partial[0] + partial[1]) + (partial[2] + partial[3]);
}

}  // namespace bunchtrain::features::detail
#endif
