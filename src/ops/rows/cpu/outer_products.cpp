// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rows/cpu/outer_products.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <algorithm>
#include <array>

#include "outer_products.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Tag>;

// Outputs times two vectors of inputs are sums that stay in registers: 16 of 32, or 12 of 16.
#if HWY_TARGET <= HWY_AVX3
constexpr std::size_t kOutputs = 8;
#else
constexpr std::size_t kOutputs = 6;
#endif

/// Rows that are gone through for all sums before the next ones: theirs stay in the cache of level 1.
constexpr std::int64_t kRowsAtOnce = 128;

struct Shape {
  std::int64_t rows, out, in;
};

/// kOutputs outputs from `first` on, behind the last of them the last once more, and two vectors of inputs.
HWY_INLINE void add_tile(const Shape& shape, const float* dy, const float* x, std::int64_t first,
                         std::int64_t column, float* sum) {
  const Tag tag;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(tag));
  std::array<const float*, kOutputs> from;
  std::array<float*, kOutputs> to;
  Vector left[kOutputs], right[kOutputs];
  for (std::size_t r = 0; r < kOutputs; ++r) {
    const std::int64_t output = std::min(first + static_cast<std::int64_t>(r), shape.out - 1);
    from[r] = dy + output;
    to[r] = sum + output * shape.in + column;
    left[r] = hn::LoadU(tag, to[r]);
    right[r] = hn::LoadU(tag, to[r] + lanes);
  }
  const float* inputs = x + column;
  for (std::int64_t row = 0; row < shape.rows; ++row, inputs += shape.in) {
    const Vector a = hn::LoadU(tag, inputs), b = hn::LoadU(tag, inputs + lanes);
    for (std::size_t r = 0; r < kOutputs; ++r) {
      const Vector value = hn::Set(tag, from[r][row * shape.out]);
      left[r] = hn::MulAdd(value, a, left[r]);
      right[r] = hn::MulAdd(value, b, right[r]);
    }
  }
  for (std::size_t r = 0; r < kOutputs; ++r) {
    hn::StoreU(left[r], tag, to[r]);
    hn::StoreU(right[r], tag, to[r] + lanes);
  }
}

/// The inputs from `column` on, fewer than a tile has.
void add_rest(const Shape& shape, const float* dy, const float* x, std::int64_t column,
              float* __restrict sum) {
  for (std::int64_t row = 0; row < shape.rows; ++row)
    for (std::int64_t output = 0; output < shape.out; ++output) {
      const float value = dy[row * shape.out + output];
      for (std::int64_t c = column; c < shape.in; ++c)
        sum[output * shape.in + c] += value * x[row * shape.in + c];
    }
}

void add_products(const float* dy, const float* x, std::int64_t rows, std::int64_t out, std::int64_t in,
                  float* sum) {
  const std::int64_t width = 2 * static_cast<std::int64_t>(hn::Lanes(Tag()));
  for (std::int64_t row = 0; row < rows; row += kRowsAtOnce) {
    const Shape shape{std::min(kRowsAtOnce, rows - row), out, in};
    const float *gradients = dy + row * out, *inputs = x + row * in;
    std::int64_t column = 0;
    for (; column + width <= in; column += width)
      for (std::int64_t first = 0; first < out; first += static_cast<std::int64_t>(kOutputs))
        add_tile(shape, gradients, inputs, first, column, sum);
    if (column < in) add_rest(shape, gradients, inputs, column, sum);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(add_products);

void add_outer_products(const float* dy, const float* x, std::int64_t rows, std::int64_t out, std::int64_t in,
                        float* sum) {
  HWY_DYNAMIC_DISPATCH(add_products)(dy, x, rows, out, in, sum);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
