// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Weights of a module to and from named tensors, with weaver's name habits.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/weights/safetensors.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::weights {

/// Parameters and buffers of a module by name, in registration order (shared storage, no copy).
NamedTensors named_state(const torch::nn::Module& module);

/// What need not fit, when weights are loaded.
enum class LoadMode {
  strict,   ///< everything must: the same network
  partial,  ///< what fits in name and shape is taken; the rest of the module stays as it is (fine-tuning)
};

/// A name in the file, or the first parts of names ("fc" of "fc.0.weight"), and what the module calls it.
struct Rename {
  std::string from;
  std::string to;
};
/// "fc=head". @throws ConfigError if it is not two names with '=' between.
Rename parse_rename(std::string_view text);

struct LoadOptions {
  LoadMode mode = LoadMode::strict;
  std::vector<Rename> renames = {};  ///< of names without "mod." and "module."; each once, in order
};

/// What became of a file's tensors and a module's. In strict mode everything was taken.
struct LoadReport {
  struct OtherShape {
    std::string name;
    std::vector<std::int64_t> file, module;
  };
  std::vector<std::string> taken;
  std::vector<OtherShape> other_shape;  ///< kept as the module had them: a head of another size
  std::vector<std::string> missing;     ///< in the file; kept as the module had them
  std::vector<std::string> left_over;   ///< of the file

  /// "taken: 40 of 44 tensors; of another shape, and left as they were: fc.1.weight ([3, 64] there, [2, 64]
  /// here)".
  std::string describe() const;
};

/// Copies tensors into a module's parameters and buffers by name. Leading "mod." and "module." are stripped
/// from the names given. dtype is converted; in strict mode shapes must match and nothing may be missing or
/// left over, except that `num_batches_tracked` may be missing and is then kept: other frameworks count no
/// batches. If it throws, nothing was copied.
/// @throws CheckpointError naming the first differing name and shape on both sides, or the tensor that holds
/// NaN or infinity with how many; in partial mode if nothing fits. ConfigError for a rename that matches no
/// name.
LoadReport load_into(torch::nn::Module& module, const NamedTensors& tensors, std::string_view origin,
                     const LoadOptions& options = {});

/// Turns `requires_grad` off for every parameter whose name matches one of the patterns ("edge_convs.*"; `*`,
/// `?` and [...] as the shell knows them, dots are nothing special). Running statistics of batch norms still
/// move in training. Returns the names.
/// @throws ConfigError for a pattern that matches no parameter, listing names, or if all would be frozen.
std::vector<std::string> freeze(torch::nn::Module& module, std::span<const std::string> patterns);

/// "qcd,top" as a file's metadata hold it.
std::vector<std::string> split_classes(std::string_view text);

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
