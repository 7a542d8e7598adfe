// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Weights of the Keras originals as those of our networks.

#include <span>
#include <string_view>

#include "bunchtrain/models/3dgan/variant.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"
#include "bunchtrain/weights/keras_layer.hpp"

namespace bunchtrain::models {

enum class ShowerNetwork { generator, discriminator };

/// State of a network (`weights::load_into`) from the layers of a Keras weight file, matched in the order
/// of the model: kernels [x, y, z, in, out] become [out, in, x, y, z], dense [in, out] becomes [out, in],
/// gamma, beta, moving_mean, moving_variance become weight, bias, running_mean, running_var. Layers
/// without weights are skipped.
/// @throws CheckpointError naming the first layer that does not fit, its shapes and what was expected.
NamedTensors from_keras(ShowerVariant variant, ShowerNetwork network,
                        std::span<const weights::KerasLayer> layers, std::string_view origin);

}  // namespace bunchtrain::models
