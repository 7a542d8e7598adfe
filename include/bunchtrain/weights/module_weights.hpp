// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Weights of a module to and from named tensors, with weaver's name habits.

#include <span>
#include <string>

#include "bunchtrain/weights/safetensors.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::weights {

/// Parameters and buffers of a module by name, in registration order (shared storage, no copy).
NamedTensors named_state(const torch::nn::Module& module);

/// Copies tensors into a module's parameters and buffers by name. Leading "mod." and "module." are stripped
/// from the names given. dtype is converted, shape must match, nothing may be missing or left over, except
/// that `num_batches_tracked` may be missing and is then kept: other frameworks count no batches.
/// @throws CheckpointError naming the first differing name and shape on both sides, or the tensor that holds
/// NaN or infinity with how many.
void load_into(torch::nn::Module& module, const NamedTensors& tensors, std::string_view origin);

/// Compares the class names stored in a file's metadata ("classes", comma-separated) with those expected.
/// @throws CheckpointError showing both orders and the option `--classes` that mends it. A file
/// without them is accepted.
void check_classes(const SafeTensors& file, std::span<const std::string> classes, std::string_view origin);

/// Writes a module's state with metadata.
void save_module(const std::filesystem::path& path, const torch::nn::Module& module,
                 std::map<std::string, std::string> metadata = {});
/// Reads it back. Returns the metadata.
std::map<std::string, std::string> load_module(const std::filesystem::path& path, torch::nn::Module& module);

}  // namespace bunchtrain::weights
