// SPDX-License-Identifier: Apache-2.0
// Highway compiles this file once per instruction set and chooses at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "conv3d/cpu/image_convolution.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// The above must come first.
#include <algorithm>
#include <array>

#include "image_convolution.hpp"

HWY_BEFORE_NAMESPACE();
namespace bunchtrain::ops::detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, kWindowColumns>;
using Vector = hn::Vec<Tag>;

// Sums that stay in registers: 24 of 32, or 12 of 16.
#if HWY_TARGET <= HWY_AVX3
constexpr std::size_t kRows = 8, kWide = 3;
#else
constexpr std::size_t kRows = 4, kWide = 2;
#endif
constexpr std::size_t kChannels = 6;  ///< output channels of planes that are computed together

HWY_INLINE Vector finish(Tag tag, Vector sum, Vector bias, Vector scale, Vector shift, float slope) {
  const Vector value = hn::Add(sum, bias);
  return hn::MulAdd(hn::Max(value, hn::Mul(value, hn::Set(tag, slope))), scale, shift);
}

/// `height` windows times `width` vectors of columns from `column` on.
template <std::size_t height, std::size_t width>
void multiply_tile(const WindowProduct& p, const std::array<const float*, kRows>& x, std::int64_t column,
                   const std::array<float*, kRows>& y) {
  const Tag tag;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(tag));
  Vector sums[height][width];
  for (auto& row : sums)
    for (Vector& sum : row) sum = hn::Zero(tag);
  for (const WindowRun& run : p.runs) {
    const float* weight = p.weight + run.block * p.run * p.columns + column;
    for (std::int64_t k = run.begin; k < run.begin + p.run; ++k, weight += p.columns) {
      Vector factors[width];
      for (std::size_t v = 0; v < width; ++v)
        factors[v] = hn::LoadU(tag, weight + static_cast<std::int64_t>(v) * lanes);
      for (std::size_t r = 0; r < height; ++r) {
        const Vector value = hn::Set(tag, x[r][k]);
        for (std::size_t v = 0; v < width; ++v) sums[r][v] = hn::MulAdd(value, factors[v], sums[r][v]);
      }
    }
  }
  for (std::size_t v = 0; v < width; ++v) {
    const std::int64_t c = column + static_cast<std::int64_t>(v) * lanes;
    const Vector bias = hn::LoadU(tag, p.epilogue.bias + c), scale = hn::LoadU(tag, p.epilogue.scale + c),
                 shift = hn::LoadU(tag, p.epilogue.shift + c);
    for (std::size_t r = 0; r < height; ++r)
      hn::StoreU(finish(tag, sums[r][v], bias, scale, shift, p.epilogue.slope), tag, y[r] + c);
  }
}

/// Windows from `first` on, behind the last of them the last once more.
template <std::size_t height>
void multiply_some(const WindowProduct& p, const float* x, std::span<const std::int64_t> windows,
                   std::size_t first, std::int64_t column, std::int64_t width, float* y) {
  std::array<const float*, kRows> from{};
  std::array<float*, kRows> to{};
  for (std::size_t r = 0; r < height; ++r) {
    const std::size_t row = std::min(first + r, windows.size() - 1);
    from[r] = x + windows[row];
    to[r] = y + static_cast<std::int64_t>(row) * p.columns;
  }
  if (width == 1)
    multiply_tile<height, 1>(p, from, column, to);
  else if (width == 2)
    multiply_tile<height, 2>(p, from, column, to);
  else
    multiply_tile<height, kWide>(p, from, column, to);
}

void multiply(const WindowProduct& p, const float* x, std::span<const std::int64_t> windows, float* y) {
  constexpr std::size_t kThreeQuarters = kRows * 3 / 4, kHalf = kRows / 2;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Tag()));
  for (std::int64_t column = 0, width = 0; column < p.columns; column += width * lanes) {
    const std::int64_t left = (p.columns - column) / lanes;
    width = left == 4 ? 2 : std::min<std::int64_t>(left, kWide);  // 2 + 2 is better than 3 + 1
    std::size_t first = 0;
    for (; first + kThreeQuarters < windows.size(); first += kRows)
      multiply_some<kRows>(p, x, windows, first, column, width, y);
    if (first + kHalf < windows.size())
      multiply_some<kThreeQuarters>(p, x, windows, first, column, width, y);
    else if (first < windows.size())
      multiply_some<kHalf>(p, x, windows, first, column, width, y);
  }
}

/// `channels` output channels from `c` on of `width` vectors of cells; the last vector has `last` of them.
template <std::size_t channels, std::size_t width>
HWY_INLINE void convolve_tile(const PlaneConvolution& p, const float* x, const PlaneStrides& strides,
                              std::int64_t c, float* y, std::int64_t y_channel, std::size_t last) {
  const Tag tag;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(tag));
  Vector sums[channels][width];
  for (auto& row : sums)
    for (Vector& sum : row) sum = hn::Zero(tag);
  const float* weight = p.weight + c;
  for (std::int64_t i = 0; i < p.in; ++i)
    for (std::int64_t kx = 0; kx < p.kernel[0]; ++kx)
      for (std::int64_t ky = 0; ky < p.kernel[1]; ++ky) {
        const float* row = x + i * strides.channel + kx * strides.x + ky * strides.y;
        for (std::int64_t kz = 0; kz < p.kernel[2]; ++kz, weight += p.out) {
          Vector values[width];
          for (std::size_t v = 0; v < width; ++v)
            values[v] = hn::LoadU(tag, row + kz + static_cast<std::int64_t>(v) * lanes);
          for (std::size_t o = 0; o < channels; ++o) {
            const Vector factor = hn::Set(tag, weight[o]);
            for (std::size_t v = 0; v < width; ++v) sums[o][v] = hn::MulAdd(factor, values[v], sums[o][v]);
          }
        }
      }
  for (std::size_t o = 0; o < channels; ++o) {
    const auto channel = c + static_cast<std::int64_t>(o);
    const ImageEpilogue& e = p.epilogue;
    const Vector bias = hn::Set(tag, e.bias[channel]), scale = hn::Set(tag, e.scale[channel]),
                 shift = hn::Set(tag, e.shift[channel]);
    float* to = y + channel * y_channel;
    for (std::size_t v = 0; v < width; ++v, to += lanes) {
      const Vector value = finish(tag, sums[o][v], bias, scale, shift, e.slope);
      if (v + 1 < width)
        hn::StoreU(value, tag, to);
      else
        hn::BlendedStore(value, hn::FirstN(tag, last), tag, to);
    }
  }
}

/// A row of cells along z.
template <std::size_t channels>
void convolve_row(const PlaneConvolution& p, const float* x, const PlaneStrides& strides, std::int64_t c,
                  std::int64_t cells, float* y, std::int64_t y_channel) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Tag()));
  for (std::int64_t z = 0, width = 0; z < cells; z += width * lanes) {
    const std::int64_t left = cells - z, vectors = (left + lanes - 1) / lanes;
    width = vectors == 4 ? 2 : std::min<std::int64_t>(vectors, kWide);
    const auto last = static_cast<std::size_t>(std::min(left - (width - 1) * lanes, lanes));
    if (width == 1)
      convolve_tile<channels, 1>(p, x + z, strides, c, y + z, y_channel, last);
    else if (width == 2)
      convolve_tile<channels, 2>(p, x + z, strides, c, y + z, y_channel, last);
    else
      convolve_tile<channels, kWide>(p, x + z, strides, c, y + z, y_channel, last);
  }
}

void convolve(const PlaneConvolution& p, const float* x, const PlaneStrides& x_strides, const Extent3& cells,
              float* y, const PlaneStrides& y_strides) {
  for (std::int64_t cx = 0; cx < cells[0]; ++cx)
    for (std::int64_t cy = 0; cy < cells[1]; ++cy) {
      const float* from = x + cx * x_strides.x + cy * x_strides.y;
      float* to = y + cx * y_strides.x + cy * y_strides.y;
      std::int64_t c = 0;
      for (; c + static_cast<std::int64_t>(kChannels) <= p.out; c += kChannels)
        convolve_row<kChannels>(p, from, x_strides, c, cells[2], to, y_strides.channel);
      for (; c < p.out; ++c) convolve_row<1>(p, from, x_strides, c, cells[2], to, y_strides.channel);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace bunchtrain::ops::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bunchtrain::ops::detail {

HWY_EXPORT(multiply);
HWY_EXPORT(convolve);

void multiply_windows(const WindowProduct& product, const float* x, std::span<const std::int64_t> windows,
                      float* y) {
  HWY_DYNAMIC_DISPATCH(multiply)(product, x, windows, y);
}

void convolve_planes(const PlaneConvolution& convolution, const float* x, const PlaneStrides& x_strides,
                     const Extent3& cells, float* y, const PlaneStrides& y_strides) {
  HWY_DYNAMIC_DISPATCH(convolve)(convolution, x, x_strides, cells, y, y_strides);
}

}  // namespace bunchtrain::ops::detail
#endif  // HWY_ONCE
