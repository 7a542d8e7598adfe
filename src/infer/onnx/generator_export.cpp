// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "../lite/generator_pass.hpp"
#include "../lite/loaded_generator.hpp"
#include "bunchtrain/core/error.hpp"
#include "candidate.hpp"
#include "evaluator.hpp"
#include "generator_graph.hpp"

namespace bunchtrain::infer::onnx {
namespace {

/// Relative to the image's largest cell: what a graph and the fast engine make of the same latent vectors.
double largest_difference(const Graph& graph, const detail::PreparedGenerator& generator,
                          std::uint64_t seed) {
  constexpr std::int64_t kShowers = 2;
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> latents(static_cast<std::size_t>(kShowers * generator.latent()));
  for (float& value : latents) value = normal(random);
  std::vector<float> expected(static_cast<std::size_t>(kShowers * generator.image()));
  detail::GeneratorPass(generator).run(latents.data(), kShowers, expected.data());
  const Array found =
      evaluate(
          graph,
          {{"latent", {.shape = {kShowers, generator.latent()}, .values = {latents.begin(), latents.end()}}}})
          .at("image");
  const double unit = std::max(1e-30F, *std::ranges::max_element(expected));
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    largest = larger(largest, std::abs(found.values.at(i) - expected[i]) / unit);
  return largest;
}

}  // namespace

Candidate generator_candidate(const std::filesystem::path& bundle, const OnnxOptions& options) {
  if (options.with_features)
    throw ConfigError("with_features", "true",
                      "false for a generator of showers: its input is a latent vector");
  detail::LoadedGenerator loaded = detail::load_generator(bundle);
  const models::ShowerVariant variant = loaded.network.options.variant;
  Candidate candidate{.graph = generator_graph(loaded.network, options.opset), .difference = {}};
  candidate.graph.metadata = {{"card", loaded.content.card},
                              {"model", loaded.content.model},
                              {"bundle", loaded.content.hash},
                              {"energy_unit_gev", fmt::to_string(models::kEnergyUnit)},
                              {"image_power", fmt::to_string(models::image_power(variant))},
                              {"image_scale", fmt::to_string(models::image_scale(variant))}};
  auto generator =
      std::make_shared<const detail::PreparedGenerator>(detail::prepare(std::move(loaded.network)));
  candidate.difference = [generator](const Graph& graph, std::uint64_t seed) {
    return largest_difference(graph, *generator, seed);
  };
  return candidate;
}

}  // namespace bunchtrain::infer::onnx
