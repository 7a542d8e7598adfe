// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Networks of bundles as ONNX files, for hosts that run ONNX Runtime. Knows no LibTorch, and no protobuf.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace bunchtrain::infer {
inline namespace v0_1 {

/// How the files that `export_onnx` writes may be told from others: among their first bytes.
inline constexpr std::string_view kOnnxMark = "\x12\nbunchtrain";

/// Which operators a graph is made of.
enum class OnnxProfile {
  ort,    ///< those that ONNX Runtime has
  sofie,  ///< those alone that ROOT's SOFIE has too
};

struct OnnxOptions {
  std::int64_t opset = 17;  ///< 17 or 13
  OnnxProfile profile = OnnxProfile::ort;
  /// Inputs are the raw columns that `FastPredictor::inputs` lists, "part.px" [jets, particles] and "jet.pt" [jets] float32,
  /// in the units of the metadata ("units"), and "mask" if the card has none; the graph computes the card's features, in
  /// float32, and its mask. It refuses nothing: values that are not finite are the caller's matter. Give the leading
  /// particles alone where there are more than the card's length.
  bool with_features = false;
  /// Weights beyond so many bytes lie in a second file beside the graph, its name with ".data": protobuf, which readers
  /// use, ends at 2 GiB.
  std::uint64_t most_bytes = (std::uint64_t{1} << 31) - (std::uint64_t{1} << 26);

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// A network as an ONNX file, and how it was proved.
struct OnnxModel {
  std::string bytes;
  std::string weights = {};  ///< of the second file; empty: there is none
  std::int64_t opset = 0;
  std::int64_t nodes = 0;
  std::int64_t least_particles = 0;  ///< slots that a call needs at least: one more than neighbours
  double difference = 0;             ///< the largest between outputs of the graph and of the fast engine
};

/// The network of a bundle (ParticleNet, ParticleNet-Lite, a 3DGAN generator) in ONNX.
///
/// Of jets: inputs "points" [jets, particles, D],
/// "features" [jets, particles, F] float32, as the bundle's card makes them, and "mask" [jets, particles] bool, real
/// particles first; any number of jets, any of particles above the neighbours that it looks for. Outputs
/// "probabilities" [jets, classes] and what heads estimate [jets]. Features are the caller's matter: the card is in the
/// file's metadata ("card"), beside "classes", "model", "least_particles", "bundle", the hash, and "gnn_config"
/// (`gnn_config_json`).
///
/// Of a generator: input "latent" [showers, L], output "image" [showers, X, Y, Z], as `FastGenerator` has them; metadata
/// "card", "model", "bundle", "energy_unit_gev", "image_power", "image_scale".
///
/// The bytes are read again and run by plain loops on made-up jets, with fewer particles than neighbours too, or latent
/// vectors. A second file is called model.onnx.data.
/// @throws CheckpointError for a bundle that cannot be used or whose graph scores otherwise; ConfigError for options, and
/// naming the layer that needs an operator which the profile does not have.
OnnxModel make_onnx(const std::filesystem::path& bundle, const OnnxOptions& options = {});

/// The same as a file, whole or not at all; a second one beside it. @throws IoError too
OnnxModel export_onnx(const std::filesystem::path& bundle, const std::filesystem::path& path,
                      const OnnxOptions& options = {});

}  // namespace v0_1
}  // namespace bunchtrain::infer
