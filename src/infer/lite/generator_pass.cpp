// SPDX-License-Identifier: Apache-2.0
#include "generator_pass.hpp"

#include <algorithm>

namespace bunchtrain::infer::detail {
namespace {

constexpr std::int64_t kTogether =
    8;  ///< showers whose dense layer is computed together: its weights are read once

std::size_t place(std::int64_t index) { return static_cast<std::size_t>(index); }

/// Taps along an axis, from one to before another.
struct TapRange {
  std::int64_t begin = 0, end = 0;
  bool operator==(const TapRange&) const = default;
};

/// Those that see cells of the image at a step, and not the zeros around it.
TapRange taps_inside(const FoldedConvolution& folded, std::size_t axis, std::int64_t step) {
  const std::int64_t first = folded.before[axis] - step;  // tap of the image's first cell
  const std::int64_t begin = std::clamp<std::int64_t>(first, 0, folded.taps[axis]);
  return {begin, std::clamp<std::int64_t>(first + folded.cells[axis], begin, folded.taps[axis])};
}

std::vector<WindowGroup> groups_of(const PreparedLayer& layer, const FoldedConvolution& folded, TapRange x) {
  std::vector<WindowGroup> groups;
  TapRange last;
  for (std::int64_t step = 0; step < folded.steps[1]; ++step) {
    const TapRange y = taps_inside(folded, 1, step);
    if (groups.empty() || !(y == last)) {
      groups.push_back({.first = step});
      for (std::int64_t tx = x.begin; tx < x.end; ++tx)
        for (std::int64_t ty = y.begin; ty < y.end; ++ty)
          groups.back().runs.push_back(
              {tx * layer.strides.x + ty * layer.strides.y, tx * folded.taps[1] + ty});
    }
    ++groups.back().steps;
    last = y;
  }
  return groups;
}

/// [out, phases, in, taps] to [taps, in, columns].
void fill_windows(PreparedLayer& layer, const FoldedConvolution& folded) {
  const std::int64_t phases = folded.phases(), taps = folded.taps[0] * folded.taps[1] * folded.taps[2];
  const std::int64_t used = phases * folded.out;
  layer.columns =
      (used + ops::detail::kWindowColumns - 1) / ops::detail::kWindowColumns * ops::detail::kWindowColumns;
  layer.weight.assign(place(taps * folded.in * layer.columns), 0.0F);
  layer.bias.assign(place(layer.columns), 0.0F);
  layer.scale = layer.shift = layer.bias;
  for (std::int64_t out = 0; out < folded.out; ++out)
    for (std::int64_t phase = 0; phase < phases; ++phase) {
      const std::int64_t column = layer.planes_follow ? out * phases + phase : phase * folded.out + out;
      layer.bias[place(column)] = folded.bias[place(out)];
      layer.scale[place(column)] = folded.norm.scale[place(out)];
      layer.shift[place(column)] = folded.norm.shift[place(out)];
      const float* from = folded.weight.data() + (out * phases + phase) * folded.in * taps;
      for (std::int64_t in = 0; in < folded.in; ++in)
        for (std::int64_t tap = 0; tap < taps; ++tap)
          layer.weight[place((tap * folded.in + in) * layer.columns + column)] = from[in * taps + tap];
    }
  for (std::int64_t y = 0; y < folded.steps[1]; ++y)
    for (std::int64_t z = 0; z < folded.steps[2]; ++z)
      layer.windows.push_back(y * layer.strides.y + z * layer.strides.z);
  for (std::int64_t x = 0; x < folded.steps[0]; ++x)
    layer.groups.push_back(groups_of(layer, folded, taps_inside(folded, 0, x)));
}

/// [out, in, taps] to [in, taps, out].
void fill_planes(PreparedLayer& layer, const FoldedConvolution& folded) {
  const std::int64_t rows = std::ssize(folded.weight) / folded.out;
  layer.weight.resize(folded.weight.size());
  for (std::int64_t out = 0; out < folded.out; ++out)
    for (std::int64_t row = 0; row < rows; ++row)
      layer.weight[place(row * folded.out + out)] = folded.weight[place(out * rows + row)];
  layer.bias = folded.bias;
  layer.scale = folded.norm.scale;
  layer.shift = folded.norm.shift;
}

PreparedLayer prepare_layer(const FoldedConvolution& folded, bool by_windows, bool planes_follow) {
  PreparedLayer layer{.by_windows = by_windows,
                      .planes_follow = planes_follow,
                      .in = folded.in,
                      .out = folded.out,
                      .made = folded.made,
                      .factor = folded.factor,
                      .steps = folded.steps,
                      .taps = folded.taps,
                      .before = folded.before,
                      .slope = folded.slope};
  const auto [x, y, z] = folded.padded();
  const std::int64_t channels = folded.in;
  layer.strides = by_windows ? ImageStrides{1, y * z * channels, z * channels, channels}
                             : ImageStrides{x * y * z, y * z, z, 1};
  layer.values = x * y * z * channels + ops::detail::kPlaneSlack;
  if (by_windows)
    fill_windows(layer, folded);
  else
    fill_planes(layer, folded);
  return layer;
}

/// Of each step along z its first `width` values, one behind the other.
template <std::int64_t width>
void gather_steps(const float* steps, std::int64_t columns, std::int64_t cells, float* to) {
  std::int64_t z = 0;
  for (; z + width <= cells; z += width, steps += columns)
    for (std::int64_t i = 0; i < width; ++i) to[z + i] = steps[i];
  for (std::int64_t i = 0; z + i < cells; ++i) to[z + i] = steps[i];
}

void gather_steps(std::int64_t width, const float* steps, std::int64_t columns, std::int64_t cells,
                  float* to) {
  if (width == 3) return gather_steps<3>(steps, columns, cells, to);
  if (width == 6) return gather_steps<6>(steps, columns, cells, to);
  for (std::int64_t z = 0; z < cells; z += width, steps += columns)
    std::copy_n(steps, std::min(width, cells - z), to + z);
}

/// The values of all steps along z, and of their phases, into the image that follows: rows of its planes, or its channels
/// where they lie last.
void spread(const PreparedLayer& layer, const float* values, std::int64_t x, std::int64_t y, float* to,
            const ImageStrides& strides) {
  const auto& [fx, fy, fz] = layer.factor;
  const std::int64_t cells = layer.made[2];
  for (std::int64_t rx = 0; rx < fx && x * fx + rx < layer.made[0]; ++rx)
    for (std::int64_t ry = 0; ry < fy && y * fy + ry < layer.made[1]; ++ry) {
      const std::int64_t phase = (rx * fy + ry) * fz;
      float* row = to + (x * fx + rx) * strides.x + (y * fy + ry) * strides.y;
      if (layer.planes_follow) {
        for (std::int64_t c = 0; c < layer.out; ++c)
          gather_steps(fz, values + c * fx * fy * fz + phase, layer.columns, cells,
                       row + c * strides.channel);
        continue;
      }
      const float* from = values + phase * layer.out;
      for (std::int64_t z = 0; z < cells; z += fz, from += layer.columns)
        std::copy_n(from, std::min(fz, cells - z) * layer.out, row + z * strides.z);
    }
}

}  // namespace

std::int64_t PreparedGenerator::image() const noexcept {
  const ops::Extent3& cells = layers.back().made;
  return cells[0] * cells[1] * cells[2] * layers.back().out;
}

PreparedGenerator prepare(FoldedGenerator generator) {
  PreparedGenerator prepared{.options = generator.options,
                             .dense = PackedLinear(generator.dense),
                             .folded = generator.folded,
                             .layers = {}};
  // Planes are not put together again: whoever has windows behind it has windows too.
  std::vector<bool> by_windows(generator.layers.size() + 1, false);
  for (std::size_t i = generator.layers.size(); i-- > 0;) {
    const FoldedConvolution& layer = generator.layers[i];
    by_windows[i] = by_windows[i + 1] || layer.phases() > 1 || layer.out >= ops::detail::kWindowColumns;
  }
  for (std::size_t i = 0; i < generator.layers.size(); ++i)
    prepared.layers.push_back(prepare_layer(generator.layers[i], by_windows[i], !by_windows[i + 1]));
  return prepared;
}

GeneratorPass::GeneratorPass(const PreparedGenerator& generator)
    : generator_(generator), dense_(place(kTogether * generator.dense.out)) {
  std::size_t products = 0;
  for (const PreparedLayer& layer : generator.layers) {
    inputs_.emplace_back(place(layer.values), 0.0F);
    products = std::max(products, layer.windows.size() * place(layer.columns));
  }
  products_.resize(products);
}

void GeneratorPass::run(const float* latents, std::int64_t count, float* images) {
  for (std::int64_t first = 0; first < count; first += kTogether) {
    const std::int64_t number = std::min(kTogether, count - first);
    ops::detail::multiply_rows(generator_.dense.product(), latents + first * generator_.latent(), number,
                               dense_.data());
    for (std::int64_t i = 0; i < number; ++i)
      run_layers(dense_.data() + i * generator_.dense.out, images + (first + i) * generator_.image());
  }
}

void GeneratorPass::run_layers(const float* cells, float* image) {
  const PreparedLayer& first = generator_.layers.front();
  const auto& [x_cells, y_cells, z_cells, channels] = generator_.folded;
  float* interior = inputs_.front().data() + first.first_cell();
  for (std::int64_t x = 0; x < x_cells; ++x)
    for (std::int64_t y = 0; y < y_cells; ++y)
      for (std::int64_t z = 0; z < z_cells; ++z)
        for (std::int64_t c = 0; c < channels; ++c)
          interior[c * first.strides.channel + x * first.strides.x + y * first.strides.y +
                   z * first.strides.z] = *cells++;
  for (std::size_t i = 0; i < generator_.layers.size(); ++i) {
    const PreparedLayer& layer = generator_.layers[i];
    const auto [x, y, z] = layer.made;
    float* to = image;
    ImageStrides strides{x * y * z, y * z, z, 1};
    if (i + 1 < generator_.layers.size()) {
      const PreparedLayer& next = generator_.layers[i + 1];
      to = inputs_[i + 1].data() + next.first_cell();
      strides = next.strides;
    }
    if (layer.by_windows)
      run_windows(layer, inputs_[i].data(), to, strides);
    else
      ops::detail::convolve_planes({layer.weight.data(), layer.epilogue(), layer.in, layer.out, layer.taps},
                                   inputs_[i].data(),
                                   {layer.strides.channel, layer.strides.x, layer.strides.y}, layer.made, to,
                                   {strides.channel, strides.x, strides.y});
  }
}

void GeneratorPass::run_windows(const PreparedLayer& layer, const float* x, float* to,
                                const ImageStrides& strides) {
  const std::int64_t depth = layer.steps[2];
  for (std::int64_t step = 0; step < layer.steps[0]; ++step)
    for (const WindowGroup& group : layer.groups[place(step)]) {
      const ops::detail::WindowProduct product{layer.weight.data(), layer.epilogue(), layer.columns,
                                               layer.taps[2] * layer.in, group.runs};
      const auto windows =
          std::span(layer.windows).subspan(place(group.first * depth), place(group.steps * depth));
      ops::detail::multiply_windows(product, x + step * layer.strides.x, windows, products_.data());
      for (std::int64_t y = 0; y < group.steps; ++y)
        spread(layer, products_.data() + y * depth * layer.columns, step, group.first + y, to, strides);
    }
}

std::size_t GeneratorPass::bytes() const noexcept {
  std::size_t values = dense_.size() + products_.size();
  for (const auto& input : inputs_) values += input.size();
  return values * sizeof(float);
}

}  // namespace bunchtrain::infer::detail
