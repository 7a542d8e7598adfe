// SPDX-License-Identifier: Apache-2.0
#include "convolution_double.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "cpu/double_taps.hpp"

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
