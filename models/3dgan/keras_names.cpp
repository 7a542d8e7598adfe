// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/3dgan/keras_names.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "layer_tables.hpp"

namespace bunchtrain::models {
namespace {

using weights::KerasLayer;

/// An array of a Keras layer and what it is called and looks like here.
struct Array {
  std::string_view keras_name;
  std::string_view our_name;
  std::vector<std::int64_t> shape;  ///< in the file
};

/// A layer that a network has.
struct Expected {
  std::string name;
  std::vector<Array> arrays;  ///< the first one tells the kind of layer
};

Expected dense(std::string name, std::int64_t in, std::int64_t out) {
  return {std::move(name), {{"kernel", "weight", {in, out}}, {"bias", "bias", {out}}}};
}

Expected norm(std::string name, std::int64_t channels) {
  return {std::move(name),
          {{"gamma", "weight", {channels}},
           {"beta", "bias", {channels}},
           {"moving_mean", "running_mean", {channels}},
           {"moving_variance", "running_var", {channels}}}};
}

Expected convolution(std::string name, const detail::ShowerLayer& layer, std::int64_t in) {
  const auto [x, y, z] = layer.kernel;
  Expected expected{std::move(name), {{"kernel", "weight", {x, y, z, in, layer.channels}}}};
  if (layer.bias) expected.arrays.push_back({"bias", "bias", {layer.channels}});
  return expected;
}

void add_convolutions(std::vector<Expected>& network, std::span<const detail::ShowerLayer> layers,
                      std::int64_t channels) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    network.push_back(convolution("conv" + number, layers[i], channels));
    channels = layers[i].channels;
    if (layers[i].norm == detail::Norm::present) network.push_back(norm("bn" + number, channels));
  }
}

std::vector<Expected> layers_of(ShowerVariant variant, ShowerNetwork kind) {
  std::vector<Expected> network;
  if (kind == ShowerNetwork::generator) {
    const detail::GeneratorTable& table = detail::generator_table(variant);
    network.push_back(dense("dense", latent_size(variant), table.dense_outputs()));
    add_convolutions(network, table.layers, table.folded[3]);
  } else {
    const detail::DiscriminatorTable& table = detail::discriminator_table(variant);
    add_convolutions(network, table.layers, 1);
    network.push_back(dense("generation", table.flattened, 1));
    network.push_back(dense("auxiliary", table.flattened, 1));
  }
  return network;
}

std::string_view last_part(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string shape_text(std::string_view name, at::IntArrayRef shape) {
  return fmt::format("{} [{}]", name, fmt::join(shape, ", "));
}

std::string arrays_text(const Expected& expected) {
  std::vector<std::string> texts;
  for (const Array& array : expected.arrays) texts.push_back(shape_text(array.keras_name, array.shape));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string arrays_text(const KerasLayer& layer) {
  std::vector<std::string> texts;
  for (const auto& [name, tensor] : layer.arrays) texts.push_back(shape_text(name, tensor.sizes()));
  return fmt::format("{}", fmt::join(texts, ", "));
}

/// Matches a file's layers with a network's and converts them.
class Conversion {
 public:
  Conversion(std::string network, std::span<const KerasLayer> layers, std::string_view origin)
      : network_(std::move(network)), origin_(origin) {
    for (const KerasLayer& layer : layers)
      if (!layer.arrays.empty()) left_.push_back(&layer);
  }

  void convert(const Expected& expected, NamedTensors& state) {
    const KerasLayer& layer = take(expected);
    check(expected, layer);
    for (const Array& array : expected.arrays) {
      state.set(fmt::format("{}.{}", expected.name, array.our_name), ours(layer.arrays[array.keras_name]));
    }
  }

  /// @throws CheckpointError if the file holds more than the network.
  void finish() const {
    if (left_.empty()) return;
    throw CheckpointError(fmt::format("{} is not a {}: its layer '{}' ({}) has no counterpart", origin_,
                                      network_, left_.front()->name, arrays_text(*left_.front())));
  }

 private:
  /// The layer of that name (the heads have one), else the next one of that kind: files without the
  /// attribute that gives the order list the kinds one after another.
  const KerasLayer& take(const Expected& expected) {
    auto found = std::ranges::find_if(
        left_, [&](const KerasLayer* layer) { return last_part(layer->name) == expected.name; });
    if (found == left_.end())
      found =
          std::ranges::find_if(left_, [&](const KerasLayer* layer) { return same_kind(expected, *layer); });
    if (found == left_.end()) {
      throw CheckpointError(fmt::format("{} is not a {}: it has no layer for '{}' ({}){}", origin_, network_,
                                        expected.name, arrays_text(expected), next_text()));
    }
    const KerasLayer& layer = **found;
    left_.erase(found);
    return layer;
  }

  static bool same_kind(const Expected& expected, const KerasLayer& layer) {
    const Array& first = expected.arrays.front();
    const at::Tensor* array = layer.arrays.find(first.keras_name);
    return array && array->dim() == static_cast<std::int64_t>(first.shape.size());
  }

  void check(const Expected& expected, const KerasLayer& layer) const {
    bool fits = layer.arrays.size() == expected.arrays.size();
    for (const Array& array : expected.arrays) {
      const at::Tensor* tensor = layer.arrays.find(array.keras_name);
      fits = fits && tensor && tensor->sizes() == at::IntArrayRef(array.shape);
    }
    if (fits) return;
    throw CheckpointError(fmt::format("{} is not a {}: its layer '{}' has {}, but '{}' has {}", origin_,
                                      network_, layer.name, arrays_text(layer), expected.name,
                                      arrays_text(expected)));
  }

  /// Keras keeps outputs last, we first.
  static at::Tensor ours(const at::Tensor& array) {
    if (array.dim() == 2) return array.t().contiguous();
    if (array.dim() == 5) return array.permute({4, 3, 0, 1, 2}).contiguous();
    return array;
  }

  std::string next_text() const {
    return left_.empty()
               ? std::string()
               : fmt::format("; its next one is '{}' ({})", left_.front()->name, arrays_text(*left_.front()));
  }

  std::string network_;
  std::string_view origin_;
  std::vector<const KerasLayer*> left_;
};

}  // namespace

NamedTensors from_keras(ShowerVariant variant, ShowerNetwork network, std::span<const KerasLayer> layers,
                        std::string_view origin) {
  Conversion conversion(
      fmt::format("3DGAN {} of variant '{}'",
                  network == ShowerNetwork::generator ? "generator" : "discriminator", to_string(variant)),
      layers, origin);
  NamedTensors state;
  for (const Expected& expected : layers_of(variant, network)) conversion.convert(expected, state);
  conversion.finish();
  return state;
}

}  // namespace bunchtrain::models
