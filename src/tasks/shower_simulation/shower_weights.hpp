// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Weight files of 3DGAN's networks: safetensors with our names, or the Keras originals.

#include <string>

#include "bunchtrain/models/3dgan/keras_names.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::shower_simulation {

/// The state of a network from a file of either kind. @throws CheckpointError
NamedTensors read_shower_weights(const std::string& path, models::ShowerVariant variant,
                                 models::ShowerNetwork network);

/// The variant of a generator's weight file, told by its latent size. @throws CheckpointError
models::ShowerVariant generator_variant(const std::string& path);

}  // namespace bunchtrain::shower_simulation
