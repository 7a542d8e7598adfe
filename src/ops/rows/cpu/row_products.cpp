// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rows/cpu/row_products.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include "row_products.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// A tile of rows and two vectors of columns, or of one: its sums stay in registers.
template <class Tag>
HWY_INLINE void finish(Tag tag, hn::Vec<Tag> sum, bool relu, float* y) {
  hn::StoreU(relu ? hn::Max(sum, hn::Zero(tag)) : sum, tag, y);
}

template <class Tag>
HWY_INLINE void four_rows(Tag tag, const RowProduct& p, const float* x, std::int64_t c, float* y) {
  const auto width = static_cast<std::int64_t>(hn::Lanes(tag));
  auto a0 = hn::LoadU(tag, p.bias + c), a1 = hn::LoadU(tag, p.bias + c + width);
  auto b0 = a0, b1 = a1, c0 = a0, c1 = a1, d0 = a0, d1 = a1;
  for (std::int64_t k = 0; k < p.in; ++k) {
    const float* weight = p.weight + k * p.out + c;
    const auto w0 = hn::LoadU(tag, weight), w1 = hn::LoadU(tag, weight + width);
    const auto xa = hn::Set(tag, x[k]), xb = hn::Set(tag, x[p.in + k]);
    const auto xc = hn::Set(tag, x[2 * p.in + k]), xd = hn::Set(tag, x[3 * p.in + k]);
    a0 = hn::MulAdd(xa, w0, a0), a1 = hn::MulAdd(xa, w1, a1);
    b0 = hn::MulAdd(xb, w0, b0), b1 = hn::MulAdd(xb, w1, b1);
    c0 = hn::MulAdd(xc, w0, c0), c1 = hn::MulAdd(xc, w1, c1);
    d0 = hn::MulAdd(xd, w0, d0), d1 = hn::MulAdd(xd, w1, d1);
  }
  y += c;
  finish(tag, a0, p.relu, y), finish(tag, a1, p.relu, y + width);
  finish(tag, b0, p.relu, y + p.out), finish(tag, b1, p.relu, y + p.out + width);
  finish(tag, c0, p.relu, y + 2 * p.out), finish(tag, c1, p.relu, y + 2 * p.out + width);
  finish(tag, d0, p.relu, y + 3 * p.out), finish(tag, d1, p.relu, y + 3 * p.out + width);
}

template <class Tag>
HWY_INLINE void one_row(Tag tag, const RowProduct& p, const float* x, std::int64_t c, float* y) {
  auto sum = hn::LoadU(tag, p.bias + c);
  for (std::int64_t k = 0; k < p.in; ++k)
    sum = hn::MulAdd(hn::Set(tag, x[k]), hn::LoadU(tag, p.weight + k * p.out + c), sum);
  finish(tag, sum, p.relu, y + c);
}

void multiply(const RowProduct& p, const float* x, std::int64_t rows, float* y) {
  const hn::ScalableTag<float> vector;
  const hn::CappedTag<float, 1> single;
  const auto width = static_cast<std::int64_t>(hn::Lanes(vector));
  const std::int64_t pairs = p.out / (2 * width) * (2 * width), whole = p.out / width * width;
  const std::int64_t fours = rows / 4 * 4;
  for (std::int64_t c = 0; c < pairs; c += 2 * width)
    for (std::int64_t r = 0; r < fours; r += 4) four_rows(vector, p, x + r * p.in, c, y + r * p.out);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = r < fours ? pairs : 0; c < whole; c += width)
      one_row(vector, p, x + r * p.in, c, y + r * p.out);
    for (std::int64_t c = whole; c < p.out; ++c) one_row(single, p, x + r * p.in, c, y + r * p.out);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(multiply);

void multiply_rows(const RowProduct& product, const float* x, std::int64_t rows, float* y) {
  HWY_DYNAMIC_DISPATCH(multiply)(product, x, rows, y);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
