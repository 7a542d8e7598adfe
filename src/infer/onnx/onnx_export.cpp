// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/onnx_export.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "../lite/loaded_generator.hpp"
#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/bundle_content.hpp"
#include "candidate.hpp"
#include "sofie.hpp"

namespace bunchtrain::infer {
inline namespace v0_1 {
namespace {

constexpr double kTolerance = 1e-4;  ///< of outputs, in units of the larger of 1 and the output

onnx::Candidate candidate_of(const std::filesystem::path& bundle, const OnnxOptions& options) {
  return detail::is_generator(weights::read_bundle_content(bundle))
             ? onnx::generator_candidate(bundle, options)
             : onnx::particle_net_candidate(bundle, options);
}

/// Of the made-up inputs that fit best.
double proven_difference(const onnx::Candidate& candidate, const onnx::Graph& read) {
  double least = std::numeric_limits<double>::infinity();
  for (std::uint64_t seed = 1; seed <= candidate.trials && !(least < kTolerance); ++seed)
    least = std::min(least, candidate.difference(read, seed));
  return least;
}

OnnxModel encode(const onnx::Graph& graph, const OnnxOptions& options, std::string weights_file) {
  std::uint64_t bytes = 0;
  for (const onnx::Constant& constant : graph.constants) bytes += constant.bytes();
  if (bytes <= options.most_bytes) return {.bytes = onnx::encode(graph)};
  onnx::ExternalData external{.location = std::move(weights_file)};
  OnnxModel model{.bytes = onnx::encode(graph, &external)};
  model.weights = std::move(external.bytes);
  return model;
}

OnnxModel make_model(const std::filesystem::path& bundle, const OnnxOptions& options,
                     std::string weights_file) {
  options.validate();
  const onnx::Candidate candidate = candidate_of(bundle, options);
  if (options.profile == OnnxProfile::sofie) onnx::require_sofie(candidate.graph);
  OnnxModel model = encode(candidate.graph, options, std::move(weights_file));
  model.opset = options.opset;
  model.nodes = std::ssize(candidate.graph.nodes);
  model.least_particles = candidate.least_particles;
  model.difference = proven_difference(candidate, onnx::decode(model.bytes, bundle.string(), model.weights));
  if (!(model.difference < kTolerance))
    throw CheckpointError(
        fmt::format("the ONNX graph of {} differs from its network by {:.2g}: nothing was written; tell the "
                    "authors of bunchtrain of this network",
                    bundle.string(), model.difference));
  return model;
}

}  // namespace

void OnnxOptions::validate() const {
  if (opset != 17 && opset != 13) throw ConfigError("opset", fmt::to_string(opset), "17 or 13");
}

OnnxModel make_onnx(const std::filesystem::path& bundle, const OnnxOptions& options) {
  return make_model(bundle, options, "model.onnx.data");
}

OnnxModel export_onnx(const std::filesystem::path& bundle, const std::filesystem::path& path,
                      const OnnxOptions& options) {
  const std::filesystem::path weights = path.string() + ".data";
  OnnxModel model = make_model(bundle, options, weights.filename().string());
  if (!model.weights.empty()) write_file_atomically(weights, model.weights);
  write_file_atomically(path, model.bytes);
  return model;
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
