// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Networks of bundles as ONNX files, for hosts that run ONNX Runtime. Knows no LibTorch, and no protobuf.

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace bunchtrain::infer {

/// How the files that `export_onnx` writes may be told from others: among their first bytes.
inline constexpr std::string_view kOnnxMark = "\x12\nbunchtrain";

struct OnnxOptions {
  std::int64_t opset = 17;  ///< 17 or 13

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// What was written.
struct OnnxFile {
  std::int64_t nodes = 0;
  std::int64_t bytes = 0;
  double difference = 0;  ///< the largest between outputs of the file's graph and of the fast engine
};

/// Writes the network of a bundle (ParticleNet, ParticleNet-Lite) as one file. Inputs "points" [jets, particles, D],
/// "features" [jets, particles, F] float32, as the bundle's card makes them, and "mask" [jets, particles] bool, real
/// particles first; any number of jets, any of particles above the neighbours that it looks for. Outputs
/// "probabilities" [jets, classes] and what heads estimate [jets]. Features are the caller's matter: the card is in the
/// file's metadata ("card"), beside "classes", "model" and "bundle", the hash.
///
/// The file is read again and run by plain loops on made-up jets, with fewer particles than neighbours too, before it is
/// put in its place.
/// @throws CheckpointError for a bundle that cannot be used or whose graph scores otherwise; IoError.
OnnxFile export_onnx(const std::filesystem::path& bundle, const std::filesystem::path& path,
                     const OnnxOptions& options = {});

}  // namespace bunchtrain::infer
