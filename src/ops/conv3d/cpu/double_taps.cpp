// SPDX-License-Identifier: Apache-2.0
// Loops for the compiler's vectoriser; Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "conv3d/cpu/double_taps.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <type_traits>

#include "double_taps.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
namespace {

template <class Channels>
void add_taps_of(const double* cells, std::int64_t stride, const double* weights, std::int64_t places,
                 double* sum, std::int64_t rows, Channels channels) {
  for (std::int64_t place = 0; place < places; ++place)
    for (std::int64_t z = 0; z < rows; ++z) {
      const double cell = cells[z * stride + place];
      for (std::int64_t o = 0; o < channels; ++o)
        sum[z * channels + o] += cell * weights[place * channels + o];
    }
}

template <class Channels>
void add_products_of(const double* cells, std::int64_t inputs, const double* gradient, double* sum,
                     std::int64_t rows, Channels channels) {
  for (std::int64_t z = 0; z < rows; ++z)
    for (std::int64_t c = 0; c < inputs; ++c)
      for (std::int64_t o = 0; o < channels; ++o)
        sum[c * channels + o] += cells[z * inputs + c] * gradient[z * channels + o];
}

/// Those of 3DGAN's inner layers as constants.
template <std::int64_t kChannels>
using Fixed = std::integral_constant<std::int64_t, kChannels>;

}  // namespace

void add_taps(const double* cells, std::int64_t stride, const double* weights, std::int64_t places,
              double* sum, std::int64_t rows, std::int64_t channels) {
  if (channels == 6) return add_taps_of(cells, stride, weights, places, sum, rows, Fixed<6>{});
  if (channels == 8) return add_taps_of(cells, stride, weights, places, sum, rows, Fixed<8>{});
  add_taps_of(cells, stride, weights, places, sum, rows, channels);
}

void add_products(const double* cells, std::int64_t inputs, const double* gradient, double* sum,
                  std::int64_t rows, std::int64_t channels) {
  if (channels == 6) return add_products_of(cells, inputs, gradient, sum, rows, Fixed<6>{});
  if (channels == 8) return add_products_of(cells, inputs, gradient, sum, rows, Fixed<8>{});
  add_products_of(cells, inputs, gradient, sum, rows, channels);
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(add_taps);
HWY_EXPORT(add_products);

void add_taps(const double* cells, std::int64_t stride, const double* weights, std::int64_t places,
              double* sum, std::int64_t rows, std::int64_t channels) {
  HWY_DYNAMIC_DISPATCH(add_taps)(cells, stride, weights, places, sum, rows, channels);
}
void add_products(const double* cells, std::int64_t inputs, const double* gradient, double* sum,
                  std::int64_t rows, std::int64_t channels) {
  HWY_DYNAMIC_DISPATCH(add_products)(cells, inputs, gradient, sum, rows, channels);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
