// SPDX-License-Identifier: Apache-2.0
// The convolutions of both 3DGANs one by one, by kernels of ours and by LibTorch's (on a GPU cuDNN's).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "bunchtrain/models/3dgan/discriminator.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/nn/conv3d.hpp"
#include "bunchtrain/ops/convolution_choices.hpp"
#include "lab/shower_layers.hpp"
#include "rows.hpp"

namespace gpu_bench {

namespace bt = bunchtrain;
using bt::models::ShowerVariant;
using bt::ops::ConvolutionWay;
using bt::ops::Extent3;

namespace {

struct Layer {
  std::string name;
  bt::nn::Conv3dOptions options;
  Extent3 cells;

  Extent3 outputs() const {
    Extent3 all;
    for (std::size_t axis = 0; axis < all.size(); ++axis)
      all[axis] = options.upsampling[axis] * cells[axis] + options.padding.before[axis] +
                  options.padding.after[axis] - options.kernel[axis] + 1;
    return all;
  }
};

/// Those of a network, in their order; `cells` of the image that the first one sees.
std::vector<Layer> layers_of(const torch::nn::Module& network, const std::string& name, Extent3 cells) {
  std::vector<Layer> layers;
  for (const auto& child : network.named_children()) {
    const auto* convolution = child.value()->as<bt::nn::Conv3dImpl>();
    if (convolution == nullptr) continue;
    layers.push_back({name + " " + child.key(), convolution->options(), cells});
    cells = layers.back().outputs();
  }
  return layers;
}

struct Size {
  ShowerVariant variant;
  Extent3 folded, shower;
  std::int64_t showers;
  std::span<const lab::ShowerLayer> in_lab;
};

/// What `gpu-kit lab convolution` measures are these layers. @throws std::logic_error
void require_layers_of_lab(const std::vector<Layer>& layers, std::span<const lab::ShowerLayer> in_lab) {
  const bool same = std::ranges::equal(layers, in_lab, [](const Layer& a, const lab::ShowerLayer& b) {
    const bt::nn::Conv3dOptions& own = a.options;
    return a.name == b.name && a.cells == b.cells && own.in_channels == b.inputs &&
           own.out_channels == b.channels && own.kernel == b.kernel &&
           own.padding.before == b.padding.before && own.padding.after == b.padding.after &&
           own.upsampling == b.upsampling;
  });
  if (!same)
    throw std::logic_error("benchmarks/gpu/lab/shower_layers.hpp has other layers than the networks");
}

/// All of a variant; with `small` the last of each network.
std::vector<Layer> layers_of(const Size& size, bool small) {
  const bt::models::ShowerGenerator generator(bt::models::ShowerGeneratorOptions{.variant = size.variant});
  const bt::models::ShowerDiscriminator discriminator(
      bt::models::ShowerDiscriminatorOptions{.variant = size.variant});
  std::vector<Layer> all = layers_of(*generator, "generator", size.folded);
  const std::size_t of_generator = all.size();
  for (Layer& layer : layers_of(*discriminator, "discriminator", size.shower))
    all.push_back(std::move(layer));
  require_layers_of_lab(all, size.in_lab);
  if (small) all = {all[of_generator - 1], all.back()};
  return all;
}

Work step_of(const Layer& layer, c10::Device device, bt::device::Precision precision, std::int64_t showers,
             ConvolutionWay way) {
  bt::nn::Conv3d convolution(layer.options);
  convolution->to(device);
  const auto& [x, y, z] = layer.cells;
  const auto& [out_x, out_y, out_z] = layer.outputs();
  const at::Tensor image = normal({showers, x, y, z, layer.options.in_channels}, 0, device).requires_grad_(),
                   gradient = normal({showers, out_x, out_y, out_z, layer.options.out_channels}, 1, device);
  return {[=]() mutable {
    const bt::device::PrecisionGuard guard(precision, device.type());
    bt::ops::convolution_choices().always(way);
    convolution->zero_grad();
    image.mutable_grad().reset();
    const at::Tensor output = convolution->forward(image);
    output.backward(gradient.to(output.scalar_type()));
    bt::ops::convolution_choices().always(std::nullopt);
  }};
}

}  // namespace

std::vector<Case> convolution_cases(const Bench& bench) {
  std::vector<Case> cases;
  for (const Size& size : {Size{ShowerVariant::fixed_angle,
                                {7, 7, 8},
                                {25, 25, 25},
                                lab::kFixedAngleShowers,
                                lab::kFixedAngleLayers},
                           Size{ShowerVariant::variable_angle,
                                {9, 9, 8},
                                {51, 51, 25},
                                lab::kVariableAngleShowers,
                                lab::kVariableAngleLayers}}) {
    const std::int64_t showers = bench.small ? 1 : size.showers;
    for (const Layer& layer : layers_of(size, bench.small))
      for (const bt::device::Precision precision : precisions(bench.device)) {
        if (bench.device.is_cuda() && precision == bt::device::Precision::float32)
          continue;  // LibTorch's alone
        for (const auto& [way, who] : {std::pair{ConvolutionWay::direct, "bunchtrain"},
                                       std::pair{ConvolutionWay::library, "LibTorch's convolution"}})
          cases.push_back({.row = "P5",
                           .what = fmt::format("3DGAN {} of {} showers of {}, forward and backward",
                                               layer.name, showers, fmt::join(size.shower, "x")),
                           .who = who,
                           .precision = precision,
                           .samples = static_cast<double>(showers),
                           .unit = "showers",
                           .prepare = [=, device = bench.device] {
                             return step_of(layer, device, precision, showers, way);
                           }});
      }
  }
  return cases;
}

}  // namespace gpu_bench
