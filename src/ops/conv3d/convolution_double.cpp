// SPDX-License-Identifier: Apache-2.0
#include "convolution_double.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "bunchtrain/core/detail/vector_clones.hpp"

namespace bunchtrain::ops::detail {
namespace {

/// Sizes of a convolution without padding, and where rows along z begin.
struct Shape {
  std::int64_t batch, x, y, z;       ///< of the output
  std::int64_t in_y, in_x, in_z;     ///< of the input
  std::int64_t kx, ky, kz, in, out;  ///< kernel and channels

  Shape(const at::Tensor& input, at::IntArrayRef weight)
      : batch(input.size(0)),
        x(input.size(1) - weight[2] + 1),
        y(input.size(2) - weight[3] + 1),
        z(input.size(3) - weight[4] + 1),
        in_y(input.size(2)),
        in_x(input.size(1)),
        in_z(input.size(3)),
        kx(weight[2]),
        ky(weight[3]),
        kz(weight[4]),
        in(weight[1]),
        out(weight[0]) {}
  std::int64_t input_row(std::int64_t b, std::int64_t i, std::int64_t j) const {
    return ((b * in_x + i) * in_y + j) * in_z * in;
  }
  std::int64_t output_row(std::int64_t b, std::int64_t i, std::int64_t j) const {
    return ((b * x + i) * y + j) * z * out;
  }
};

at::Tensor padded(const at::Tensor& input, const Extent3& p) {
  return at::constant_pad_nd(input, {0, 0, p[2], p[2], p[1], p[1], p[0], p[0]}).contiguous();
}

/// sum[z, :] += cells[z * stride + place] * weights[place, :] for all z of a row and all places: taps along z
/// and input channels, which lie one after the other.
template <class Channels>
BUNCHTRAIN_INLINE void add_taps_of(const double* cells, std::int64_t stride, const double* weights,
                                   std::int64_t places, double* sum, std::int64_t rows, Channels channels) {
  for (std::int64_t place = 0; place < places; ++place)
    for (std::int64_t z = 0; z < rows; ++z) {
      const double cell = cells[z * stride + place];
      for (std::int64_t o = 0; o < channels; ++o)
        sum[z * channels + o] += cell * weights[place * channels + o];
    }
}

/// sum[c, :] += cells[z, c] * gradient[z, :] over all z of a row.
template <class Channels>
BUNCHTRAIN_INLINE void add_products_of(const double* cells, std::int64_t inputs, const double* gradient,
                                       double* sum, std::int64_t rows, Channels channels) {
  for (std::int64_t z = 0; z < rows; ++z)
    for (std::int64_t c = 0; c < inputs; ++c)
      for (std::int64_t o = 0; o < channels; ++o)
        sum[c * channels + o] += cells[z * inputs + c] * gradient[z * channels + o];
}

template <std::int64_t kChannels>
using Fixed = std::integral_constant<std::int64_t, kChannels>;

/// The same for any number of channels, those of 3DGAN's inner layers as constants.
BUNCHTRAIN_VECTOR_CLONES
void add_taps(const double* cells, std::int64_t stride, const double* weights, std::int64_t places,
              double* sum, std::int64_t rows, std::int64_t channels) {
  if (channels == 6) return add_taps_of(cells, stride, weights, places, sum, rows, Fixed<6>{});
  if (channels == 8) return add_taps_of(cells, stride, weights, places, sum, rows, Fixed<8>{});
  add_taps_of(cells, stride, weights, places, sum, rows, channels);
}

BUNCHTRAIN_VECTOR_CLONES
void add_products(const double* cells, std::int64_t inputs, const double* gradient, double* sum,
                  std::int64_t rows, std::int64_t channels) {
  if (channels == 6) return add_products_of(cells, inputs, gradient, sum, rows, Fixed<6>{});
  if (channels == 8) return add_products_of(cells, inputs, gradient, sum, rows, Fixed<8>{});
  add_products_of(cells, inputs, gradient, sum, rows, channels);
}

}  // namespace

at::Tensor double_output(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                         const Extent3& padding) {
  const at::Tensor cells = padded(input, padding);
  const Shape shape(cells, weight.sizes());
  const at::Tensor taps = weight.permute({2, 3, 4, 1, 0}).contiguous();
  at::Tensor output = at::empty({shape.batch, shape.x, shape.y, shape.z, shape.out}, input.options());
  if (bias.defined())
    output.copy_(bias.expand_as(output));
  else
    output.zero_();
  const double* cell = cells.const_data_ptr<double>();
  const double* tap = taps.const_data_ptr<double>();
  double* sum = output.mutable_data_ptr<double>();
  const std::int64_t places = shape.kz * shape.in;
  at::parallel_for(0, shape.batch * shape.x * shape.y, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const std::int64_t j = row % shape.y, i = row / shape.y % shape.x, b = row / (shape.y * shape.x);
      for (std::int64_t dx = 0; dx < shape.kx; ++dx)
        for (std::int64_t dy = 0; dy < shape.ky; ++dy)
          add_taps(cell + shape.input_row(b, i + dx, j + dy), shape.in,
                   tap + (dx * shape.ky + dy) * places * shape.out, places, sum + shape.output_row(b, i, j),
                   shape.z, shape.out);
    }
  });
  return output;
}

at::Tensor double_weight_gradient(const at::Tensor& gradient, const at::Tensor& input,
                                  const at::Tensor& weight, const Extent3& padding) {
  const at::Tensor cells = padded(input, padding), slope = gradient.contiguous();
  const Shape shape(cells, weight.sizes());
  const at::Tensor taps = at::zeros({shape.kx, shape.ky, shape.kz, shape.in, shape.out}, weight.options());
  const double* cell = cells.const_data_ptr<double>();
  const double* change = slope.const_data_ptr<double>();
  double* sums = taps.mutable_data_ptr<double>();
  at::parallel_for(0, shape.kx * shape.ky * shape.kz, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t tap = first; tap < last; ++tap) {
      const std::int64_t dz = tap % shape.kz, dy = tap / shape.kz % shape.ky,
                         dx = tap / (shape.kz * shape.ky);
      for (std::int64_t row = 0; row < shape.batch * shape.x * shape.y; ++row) {
        const std::int64_t j = row % shape.y, i = row / shape.y % shape.x, b = row / (shape.y * shape.x);
        add_products(cell + shape.input_row(b, i + dx, j + dy) + dz * shape.in, shape.in,
                     change + shape.output_row(b, i, j), sums + tap * shape.in * shape.out, shape.z,
                     shape.out);
      }
    }
  });
  return taps.permute({4, 3, 0, 1, 2}).contiguous();
}

}  // namespace bunchtrain::ops::detail
