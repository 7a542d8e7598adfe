// SPDX-License-Identifier: Apache-2.0
// Loops for the compiler's vectoriser; Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rows/cpu/row_kernels.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <algorithm>

#include "activations.hpp"
#include "row_kernels.hpp"
#include "row_table.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
namespace {

template <class S>
void moments_loop(const S* x, std::int64_t rows, std::int64_t channels, double* __restrict sum,
                  double* __restrict square) {
  for (std::int64_t row = 0; row < rows; ++row, x += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const double value = load(x[c]);
      sum[c] += value;
      square[c] += value * value;
    }
  }
}

template <class S, Activation kActivation>
void affine_loop(const S* x, S* y, std::int64_t rows, std::int64_t channels, Affine<Real<S>> affine) {
  const Real<S>* __restrict scale = affine.scale, * __restrict shift = affine.shift;
  for (std::int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
#pragma GCC ivdep
    for (std::int64_t c = 0; c < channels; ++c) {
      const Real<S> value = load(x[c]) * scale[c] + shift[c];
      store(y[c], activated<kActivation>(value));
    }
  }
}

template <class S, Activation kActivation>
void gradient_moments_loop(const S* dy, const S* x, std::int64_t rows, std::int64_t channels,
                           Affine<Real<S>> affine, double* __restrict sum, double* __restrict product) {
  const Real<S>* __restrict scale = affine.scale, * __restrict shift = affine.shift;
  for (std::int64_t row = 0; row < rows; ++row, x += channels, dy += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const Real<S> value = load(x[c]);
      const Real<S> gradient = load(dy[c]);
      const Real<S> kept = gradient_through<kActivation>(gradient, value * scale[c] + shift[c]);
      const double wide = kept;
      sum[c] += wide;
      product[c] += wide * static_cast<double>(value);
    }
  }
}

template <class S, Activation kActivation>
void backward_loop(const S* dy, const S* x, S* dx, std::int64_t rows, std::int64_t channels,
                   Affine<Real<S>> affine, Affine<Real<S>> correction) {
  const Real<S>* __restrict scale = affine.scale, * __restrict shift = affine.shift;
  const Real<S>* __restrict slope = correction.scale, * __restrict offset = correction.shift;
  for (std::int64_t row = 0; row < rows; ++row, x += channels, dy += channels, dx += channels) {
#pragma GCC ivdep
    for (std::int64_t c = 0; c < channels; ++c) {
      const Real<S> value = load(x[c]);
      const Real<S> gradient = load(dy[c]);
      const Real<S> kept = gradient_through<kActivation>(gradient, value * scale[c] + shift[c]);
      store(dx[c], scale[c] * kept - offset[c] - slope[c] * value);
    }
  }
}

template <class S>
const RowTable<S>& row_table() {
  static constexpr RowTable<S> kTable{
      .moments = moments_loop<S>,
      .affine = {affine_loop<S, Activation::none>, affine_loop<S, Activation::relu>,
                 affine_loop<S, Activation::silu>},
      .gradient_moments = {gradient_moments_loop<S, Activation::none>,
                           gradient_moments_loop<S, Activation::relu>,
                           gradient_moments_loop<S, Activation::silu>},
      .backward = {backward_loop<S, Activation::none>, backward_loop<S, Activation::relu>,
                   backward_loop<S, Activation::silu>}};
  return kTable;
}

}  // namespace

const RowTable<float>& rows_of_float() { return row_table<float>(); }
const RowTable<double>& rows_of_double() { return row_table<double>(); }
const RowTable<Bf16>& rows_of_bf16() { return row_table<Bf16>(); }

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {
namespace {

HWY_EXPORT(rows_of_float);
HWY_EXPORT(rows_of_double);
HWY_EXPORT(rows_of_bf16);

template <class S>
const RowTable<S>& rows_of() {
  if constexpr (std::is_same_v<S, float>) return HWY_DYNAMIC_DISPATCH(rows_of_float)();
  if constexpr (std::is_same_v<S, double>) return HWY_DYNAMIC_DISPATCH(rows_of_double)();
  if constexpr (std::is_same_v<S, Bf16>) return HWY_DYNAMIC_DISPATCH(rows_of_bf16)();
}

/// Rows of few channels leave vectors idle: several are walked as one of up to this many channels.
constexpr std::int64_t kWide = 64;

/// How many rows are walked as one, and how many such there are.
struct Width {
  std::int64_t rows_at_once, wide_rows;

  Width(std::int64_t rows, std::int64_t channels)
      : rows_at_once(channels > kWide / 2 ? 1 : kWide / channels), wide_rows(rows / rows_at_once) {}
  std::int64_t walked() const { return wide_rows * rows_at_once; }
};

/// Numbers per channel, for each of the rows that are walked as one.
template <class R>
class Repeated {
 public:
  Repeated(Affine<R> once, std::int64_t channels, std::int64_t rows_at_once) {
    for (std::int64_t row = 0; row < rows_at_once; ++row) {
      std::copy(once.scale, once.scale + channels, scale_ + row * channels);
      std::copy(once.shift, once.shift + channels, shift_ + row * channels);
    }
  }
  operator Affine<R>() const { return {scale_, shift_}; }

 private:
  R scale_[kWide], shift_[kWide];
};

/// Sums per channel of rows that are walked as one.
struct WideSums {
  double first[kWide] = {}, second[kWide] = {};

  void add_to(double* sum, double* product, std::int64_t channels, std::int64_t rows_at_once) const {
    for (std::int64_t i = 0; i < rows_at_once * channels; ++i) {
      sum[i % channels] += first[i];
      product[i % channels] += second[i];
    }
  }
};

}  // namespace

template <class S>
void add_moments(const S* x, std::int64_t rows, std::int64_t channels, double* sum, double* square) {
  const Width width(rows, channels);
  if (width.rows_at_once > 1 && width.wide_rows > 0) {
    WideSums sums;
    rows_of<S>().moments(x, width.wide_rows, width.rows_at_once * channels, sums.first, sums.second);
    sums.add_to(sum, square, channels, width.rows_at_once);
    x += width.walked() * channels;
    rows -= width.walked();
  }
  rows_of<S>().moments(x, rows, channels, sum, square);
}
template <class S>
void apply_affine(const S* x, S* y, std::int64_t rows, std::int64_t channels, Affine<Real<S>> affine,
                  Activation activation) {
  const Width width(rows, channels);
  if (width.rows_at_once > 1 && width.wide_rows > 0) {
    const Repeated wide(affine, channels, width.rows_at_once);
    rows_of<S>().affine[place_of(activation)](x, y, width.wide_rows, width.rows_at_once * channels, wide);
    x += width.walked() * channels;
    y += width.walked() * channels;
    rows -= width.walked();
  }
  rows_of<S>().affine[place_of(activation)](x, y, rows, channels, affine);
}
template <class S>
void add_gradient_moments(const S* dy, const S* x, std::int64_t rows, std::int64_t channels,
                          Affine<Real<S>> affine, Activation activation, double* sum, double* product) {
  const Width width(rows, channels);
  if (width.rows_at_once > 1 && width.wide_rows > 0) {
    const Repeated wide(affine, channels, width.rows_at_once);
    WideSums sums;
    rows_of<S>().gradient_moments[place_of(activation)](dy, x, width.wide_rows, width.rows_at_once * channels,
                                                        wide, sums.first, sums.second);
    sums.add_to(sum, product, channels, width.rows_at_once);
    dy += width.walked() * channels;
    x += width.walked() * channels;
    rows -= width.walked();
  }
  rows_of<S>().gradient_moments[place_of(activation)](dy, x, rows, channels, affine, sum, product);
}
template <class S>
void normalise_backward(const S* dy, const S* x, S* dx, std::int64_t rows, std::int64_t channels,
                        Affine<Real<S>> affine, Activation activation, Affine<Real<S>> correction) {
  const Width width(rows, channels);
  if (width.rows_at_once > 1 && width.wide_rows > 0) {
    const Repeated wide(affine, channels, width.rows_at_once);
    const Repeated wide_correction(correction, channels, width.rows_at_once);
    rows_of<S>().backward[place_of(activation)](dy, x, dx, width.wide_rows, width.rows_at_once * channels,
                                                wide, wide_correction);
    const std::int64_t walked = width.walked() * channels;
    dy += walked;
    x += walked;
    dx += walked;
    rows -= width.walked();
  }
  rows_of<S>().backward[place_of(activation)](dy, x, dx, rows, channels, affine, correction);
}

#define BUNCHTRAIN_INSTANTIATE(S)                                                                          \
  template void add_moments<S>(const S*, std::int64_t, std::int64_t, double*, double*);                    \
  template void apply_affine<S>(const S*, S*, std::int64_t, std::int64_t, Affine<Real<S>>, Activation);    \
  template void add_gradient_moments<S>(const S*, const S*, std::int64_t, std::int64_t, Affine<Real<S>>,   \
                                        Activation, double*, double*);                                     \
  template void normalise_backward<S>(const S*, const S*, S*, std::int64_t, std::int64_t, Affine<Real<S>>, \
                                      Activation, Affine<Real<S>>);
BUNCHTRAIN_INSTANTIATE(float)
BUNCHTRAIN_INSTANTIATE(double)
BUNCHTRAIN_INSTANTIATE(Bf16)

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
