// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>

#include <cstdint>

#include "../direct.hpp"
#include "bunchtrain/device/detail/current_stream.hpp"
#include "direct_launch.hpp"

namespace bunchtrain::ops::detail {
namespace {

cudaStream_t stream_of(const at::Tensor& tensor) {
  return static_cast<cudaStream_t>(device::current_stream(tensor.device()));
}

/// Kernels read 16 bytes at once.
at::Tensor aligned(const at::Tensor& x) {
  const at::Tensor dense = x.detach().contiguous();
  return reinterpret_cast<std::uintptr_t>(dense.const_data_ptr()) % 16 == 0 ? dense : dense.clone();
}

template <class S>
const S* data_of(const at::Tensor& x) {
  return x.defined() ? static_cast<const S*>(x.const_data_ptr()) : nullptr;
}

/// Of [B, X, Y, Z, C].
template <class T>
PhasedImage<T> phased(T* data, at::IntArrayRef sizes, const Extent3& factor) {
  PhasedImage<T> image{.data = data, .extent = {}, .factor = {}, .channels = static_cast<int>(sizes[4])};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    image.extent[axis] = static_cast<int>(sizes[axis + 1]);
    image.factor[axis] = static_cast<int>(factor[axis]);
  }
  return image;
}

constexpr Extent3 kOnes = {1, 1, 1};

/// `launch(S{})` with the kernels' type of a tensor's numbers.
template <class Launch>
void with_type_of(const at::Tensor& tensor, Launch launch) {
  tensor.scalar_type() == at::kBFloat16 ? launch(Bf16{}) : launch(float{});
}

int bytes_of(const at::Tensor& x) { return static_cast<int>(x.element_size()); }

/// An image, and how its cells are put together.
struct SeenImage {
  at::Tensor image;
  Extent3 factor;
};

void convolve_tiles(const DirectTiles& tiles, const SeenImage& source, const SeenImage& target,
                    const at::Tensor& weight, const at::Tensor& bias, bool mirrored) {
  const at::Tensor cells = aligned(source.image), taps = aligned(weight),
                   offsets = bias.defined() ? bias.detach().contiguous() : bias;
  const auto channels = static_cast<int>(weight.size(mirrored ? 0 : 1));
  const at::Tensor packed = at::empty({packed_numbers(tiles, bytes_of(cells))}, cells.options());
  with_type_of(cells, [&]<class S>(S) {
    launch_pack_weight<S>(tiles, {.columns = tiles.columns, .channels = channels, .mirrored = mirrored},
                          data_of<S>(taps), static_cast<S*>(packed.mutable_data_ptr()), stream_of(cells));
    launch_convolution<S>(
        tiles, phased(data_of<S>(cells), cells.sizes(), source.factor), data_of<S>(packed),
        data_of<S>(offsets),
        phased(static_cast<S*>(target.image.mutable_data_ptr()), target.image.sizes(), target.factor),
        stream_of(cells));
  });
}

at::Tensor empty_image(const at::Tensor& like, const Extent3& cells, std::int64_t channels) {
  return at::empty({like.size(0), cells[0], cells[1], cells[2], channels}, like.options());
}

}  // namespace

at::Tensor direct_output(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias,
                         const DirectGeometry& geometry, const ConvolutionTiles& line) {
  const c10::DeviceGuard guard(image.device());
  const at::Tensor output = empty_image(image, geometry.fine, geometry.channels);
  const DirectShape shape = shape_of_pass(geometry, image.size(0), ConvolutionPass::output);
  convolve_tiles(plan_convolution(shape, bytes_of(image), line).value(), {image, kOnes},
                 {output, geometry.factor}, weight, bias, /*mirrored=*/false);
  return output;
}

at::Tensor direct_image_gradient(const at::Tensor& gradient, const at::Tensor& weight,
                                 const DirectGeometry& geometry, const ConvolutionTiles& line) {
  const c10::DeviceGuard guard(gradient.device());
  const at::Tensor image = empty_image(gradient, geometry.cells, geometry.inputs);
  const DirectShape shape = shape_of_pass(geometry, gradient.size(0), ConvolutionPass::image_gradient);
  convolve_tiles(plan_convolution(shape, bytes_of(image), line).value(), {gradient, geometry.factor},
                 {image, kOnes}, weight, {}, /*mirrored=*/true);
  return image;
}

at::Tensor direct_weight_gradient(const at::Tensor& gradient, const at::Tensor& image,
                                  const DirectGeometry& geometry, const ConvolutionTiles& line) {
  const c10::DeviceGuard guard(gradient.device());
  const at::Tensor cells = aligned(image), slope = aligned(gradient);
  const DirectTiles tiles =
      plan_weight_gradient(shape_of_pass(geometry, image.size(0), ConvolutionPass::weight_gradient),
                           bytes_of(image), line)
          .value();
  const auto floats = image.options().dtype(at::kFloat);
  const at::Tensor partials = at::empty({tiles.slots, partial_numbers(tiles)}, floats);
  const at::Tensor weight = at::empty({geometry.phases() * geometry.channels, geometry.inputs,
                                       geometry.kernel[0], geometry.kernel[1], geometry.kernel[2]},
                                      floats);
  with_type_of(cells, [&]<class S>(S) {
    launch_weight_gradient<S>(tiles, phased(data_of<S>(cells), cells.sizes(), kOnes),
                              phased(data_of<S>(slope), slope.sizes(), geometry.factor),
                              partials.mutable_data_ptr<float>(), weight.mutable_data_ptr<float>(),
                              stream_of(cells));
  });
  return weight.to(image.scalar_type());
}

}  // namespace bunchtrain::ops::detail
