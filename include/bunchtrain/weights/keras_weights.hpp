// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Reads weight files of Keras (HDF5, `save_weights`, or the `model_weights` group of a whole saved model).
///
/// A target of its own, `bunchtrain::keras_weights`: the rest of `weights` knows no HDF5.

#include <filesystem>
#include <vector>

#include "bunchtrain/weights/keras_layer.hpp"

namespace bunchtrain::weights {

/// All layers that have arrays, in the model's order (attributes `layer_names` and `weight_names` of the
/// file; without them the order of numbers in names). Models inside a model are opened: their layers follow
/// each other. Nested (`sequential_1/conv3d_1/kernel:0`) and flat files are read. Every size is checked
/// before it is allocated.
/// @throws CheckpointError naming the file and what is wrong with it.
std::vector<KerasLayer> read_keras_weights(const std::filesystem::path& path);

/// Whether a file is HDF5 (Keras), to tell it from safetensors.
bool is_keras_weights(const std::filesystem::path& path);

}  // namespace bunchtrain::weights
