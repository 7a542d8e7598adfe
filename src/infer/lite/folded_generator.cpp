// SPDX-License-Identifier: Apache-2.0
#include "folded_generator.hpp"

#include <fmt/format.h>

#include "3dgan/layer_tables.hpp"

namespace bunchtrain::infer::detail {
namespace {

using models::detail::GeneratorTable;
using models::detail::ShowerLayer;

/// The shape of a layer on an image of `cells`.
FoldedConvolution shape_of(const ShowerLayer& layer, std::int64_t in, const ops::Extent3& cells) {
  FoldedConvolution folded{.in = in, .out = layer.channels, .cells = cells, .factor = layer.upsampling};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const ops::AxisPhases phases{layer.upsampling[axis], layer.kernel[axis], layer.padding.before[axis]};
    folded.made[axis] = layer.upsampling[axis] * cells[axis] + layer.padding.before[axis] +
                        layer.padding.after[axis] - layer.kernel[axis] + 1;
    folded.steps[axis] = (folded.made[axis] + phases.factor - 1) / phases.factor;
    folded.taps[axis] = phases.taps();
    folded.before[axis] = -phases.first();
    folded.after[axis] = folded.steps[axis] - 1 + phases.last() - (cells[axis] - 1);
  }
  return folded;
}

/// The published kernel [out, in, kernel], summed to the phases that see the same cells.
std::vector<float> sum_phases(const FoldedConvolution& layer, const ShowerLayer& table,
                              const std::vector<float>& kernel) {
  const auto& [kx, ky, kz] = table.kernel;
  const std::int64_t taps = layer.taps[0] * layer.taps[1] * layer.taps[2];
  std::vector<double> sums(static_cast<std::size_t>(layer.out * layer.phases() * layer.in * taps));
  std::array<ops::AxisPhases, 3> axes;
  for (std::size_t axis = 0; axis < 3; ++axis)
    axes[axis] = {table.upsampling[axis], table.kernel[axis], table.padding.before[axis]};
  const auto tap_of = [&](std::size_t axis, std::int64_t phase, std::int64_t cell) {
    return axes[axis].cell_of(phase, cell) - axes[axis].first();
  };
  for (std::int64_t rows = 0; rows < layer.out * layer.phases() * layer.in; ++rows) {
    const std::int64_t in = rows % layer.in, phase = rows / layer.in % layer.phases(),
                       out = rows / layer.in / layer.phases();
    const std::int64_t rz = phase % layer.factor[2], ry = phase / layer.factor[2] % layer.factor[1],
                       rx = phase / layer.factor[2] / layer.factor[1];
    const float* from = kernel.data() + (out * layer.in + in) * kx * ky * kz;
    for (std::int64_t x = 0; x < kx; ++x)
      for (std::int64_t y = 0; y < ky; ++y)
        for (std::int64_t z = 0; z < kz; ++z) {
          const std::int64_t tap =
              (tap_of(0, rx, x) * layer.taps[1] + tap_of(1, ry, y)) * layer.taps[2] + tap_of(2, rz, z);
          sums[static_cast<std::size_t>(rows * taps + tap)] += from[(x * ky + y) * kz + z];
        }
  }
  return {sums.begin(), sums.end()};
}

FoldedConvolution read_layer(WeightReader& reader, const ShowerLayer& table, const std::string& number,
                             FoldedConvolution layer, double epsilon) {
  const auto& [kx, ky, kz] = table.kernel;
  const auto channels = static_cast<std::size_t>(layer.out);
  // The reader knows shapes without trailing ones.
  std::vector<std::int64_t> shape = {layer.out, layer.in, kx, ky, kz};
  layer.weight = sum_phases(layer, table, reader.take("conv" + number + ".weight", shape));
  layer.bias.assign(channels, 0.0F);
  if (table.bias) layer.bias = reader.take("conv" + number + ".bias", {layer.out});
  layer.norm = {std::vector<float>(channels, 1.0F), std::vector<float>(channels, 0.0F)};
  layer.has_norm = table.norm == models::detail::Norm::present;
  if (layer.has_norm) layer.norm = read_norm(reader, "bn" + number, layer.out, epsilon);
  return layer;
}

}  // namespace

FoldedGenerator read_folded_generator(const models::ShowerGeneratorOptions& options,
                                      const std::filesystem::path& weights) {
  const GeneratorTable& table = models::detail::generator_table(options.variant);
  WeightReader reader(weights);
  FoldedGenerator generator{
      .options = options,
      .dense = read_linear(reader, "dense", models::latent_size(options.variant), table.dense_outputs()),
      .folded = table.folded,
      .layers = {}};
  ops::Extent3 cells = {table.folded[0], table.folded[1], table.folded[2]};
  std::int64_t channels = table.folded[3];
  for (const ShowerLayer& line : table.layers) {
    FoldedConvolution layer = shape_of(line, channels, cells);
    const bool last = &line == &table.layers.back();
    layer.slope = last ? 0.0F : static_cast<float>(table.slope);
    generator.layers.push_back(read_layer(reader, line, fmt::to_string(generator.layers.size() + 1),
                                          std::move(layer), models::detail::norm_epsilon(options.variant)));
    cells = generator.layers.back().made;
    channels = line.channels;
  }
  reader.require_all_taken();
  return generator;
}

}  // namespace bunchtrain::infer::detail
