// SPDX-License-Identifier: Apache-2.0
#include "shower_weights.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/keras_weights.hpp"
#include "bunchtrain/weights/safetensors.hpp"

namespace bunchtrain::shower_simulation {
namespace {

/// Inputs of the first dense layer; 0 if the file does not begin with one.
std::int64_t latent_size_of(const std::string& path) {
  if (!weights::is_keras_weights(path)) {
    const auto file = weights::read_safetensors(path);
    const at::Tensor* dense = file.tensors.find("dense.weight");
    return dense && dense->dim() == 2 ? dense->size(1) : 0;
  }
  for (const auto& layer : weights::read_keras_weights(path))
    if (const at::Tensor* kernel = layer.arrays.find("kernel"))
      return kernel->dim() == 2 ? kernel->size(0) : 0;
  return 0;
}

}  // namespace

NamedTensors read_shower_weights(const std::string& path, models::ShowerVariant variant,
                                 models::ShowerNetwork network) {
  if (weights::is_keras_weights(path))
    return models::from_keras(variant, network, weights::read_keras_weights(path), path);
  return weights::read_safetensors(path).tensors;
}

models::ShowerVariant generator_variant(const std::string& path) {
  const std::int64_t size = latent_size_of(path);
  for (const auto variant : {models::ShowerVariant::fixed_angle, models::ShowerVariant::variable_angle})
    if (models::latent_size(variant) == size) return variant;
  throw CheckpointError(
      fmt::format("{} holds no 3DGAN generator: its first layer should be dense with 200 inputs (fixed "
                  "angle) or 256 (variable "
                  "angle), {}",
                  path, size == 0 ? std::string("and there is none") : fmt::format("and has {}", size)));
}

}  // namespace bunchtrain::shower_simulation
