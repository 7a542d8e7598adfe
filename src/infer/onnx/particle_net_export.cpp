// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "../lite/loaded_particle_net.hpp"
#include "../lite/made_up_jets.hpp"
#include "../lite/particle_net_pass.hpp"
#include "bunchtrain/infer/fast_predictor.hpp"
#include "bunchtrain/infer/model_card.hpp"
#include "candidate.hpp"
#include "evaluator.hpp"
#include "particle_net_graph.hpp"

namespace bunchtrain::infer::onnx {
namespace {

/// Jets of normal numbers, from none to many particles.
struct MadeUpJets {
  std::vector<std::int64_t> particles;
  std::int64_t slots = 0;
  Array points, features, mask;
};

std::int64_t most_neighbours(const detail::FoldedNetwork& network) {
  std::int64_t k = 0;
  for (const detail::FoldedBlock& block : network.blocks) k = std::max(k, block.k);
  return k;
}

MadeUpJets make_jets(const detail::FoldedNetwork& network, std::int64_t dims, std::uint64_t seed) {
  const std::int64_t k = most_neighbours(network), slots = k + 4;
  MadeUpJets jets{.particles = {0, 1, 2, k - 1, k + 1, k + 3, slots},
                  .slots = slots,
                  .points = {},
                  .features = {},
                  .mask = {}};
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto count = std::ssize(jets.particles);
  jets.points.shape = {count, slots, dims};
  jets.features.shape = {count, slots, network.options.num_features};
  jets.mask.shape = {count, slots};
  for (std::int64_t& real : jets.particles) {
    real = std::max<std::int64_t>(real, 0);
    for (std::int64_t slot = 0; slot < slots; ++slot) {
      const auto add = [&](Array& array) {
        for (std::int64_t c = 0; c < array.shape[2]; ++c)
          array.values.push_back(slot < real ? normal(random) : 0);
      };
      add(jets.points);
      add(jets.features);
      jets.mask.values.push_back(slot < real ? 1 : 0);
    }
  }
  return jets;
}

std::vector<float> part_of(const Array& array, std::int64_t jet) {
  const std::int64_t size = array.shape[1] * array.shape[2];
  return {array.values.begin() + jet * size, array.values.begin() + (jet + 1) * size};
}

/// What a graph and the fast engine make of the same jets.
double largest_difference(const Graph& graph, const detail::PreparedNetwork& network, std::int64_t dims,
                          const MadeUpJets& jets) {
  const auto outputs =
      evaluate(graph, {{"points", jets.points}, {"features", jets.features}, {"mask", jets.mask}});
  detail::ParticleNetPass pass(network, jets.slots, dims);
  const auto classes = static_cast<std::size_t>(network.options.num_classes);
  std::vector<float> logits(classes), estimates(graph.outputs.size() - 1);
  double largest = 0;
  const auto compare = [&](double found, double expected) {
    largest = larger(largest, std::abs(found - expected) / std::max(1.0, std::abs(expected)));
  };
  for (std::size_t jet = 0; jet < jets.particles.size(); ++jet) {
    const auto points = part_of(jets.points, static_cast<std::int64_t>(jet)),
               features = part_of(jets.features, static_cast<std::int64_t>(jet));
    pass.run({.points = points.data(),
              .dims = dims,
              .features = features.data(),
              .particles = jets.particles[jet],
              .slots = jets.slots},
             logits, estimates);
    const double highest = *std::ranges::max_element(logits);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - highest);
    for (std::size_t c = 0; c < classes; ++c)
      compare(outputs.at("probabilities").values.at(jet * classes + c), std::exp(logits[c] - highest) / sum);
    for (std::size_t e = 0; e < estimates.size(); ++e)
      compare(outputs.at(graph.outputs[e + 1].name).values.at(jet), estimates[e]);
  }
  return largest;
}

/// A raw column of ragged jets, padded as the graph's input: [B, P] of particles, [B] of jets.
Array raw_input(const Value& input, const RawJets& jets, std::int64_t slots) {
  const bool of_particles = input.shape.size() == 2;
  const auto found = std::ranges::find(jets.columns, std::string_view(input.name), &RawColumn::name);
  Array array{.shape = {jets.count}, .values = {}};
  if (of_particles) array.shape.push_back(slots);
  for (std::int64_t jet = 0; jet < jets.count; ++jet) {
    const auto begin = jets.row_splits[static_cast<std::size_t>(jet)],
               count = jets.row_splits[static_cast<std::size_t>(jet) + 1] - begin;
    if (!of_particles) array.values.push_back(found->values[static_cast<std::size_t>(jet)]);
    for (std::int64_t slot = 0; of_particles && slot < slots; ++slot) {
      const bool real = slot < count, is_mask = found == jets.columns.end();
      array.values.push_back(!real ? 0 : is_mask ? 1 : found->values[static_cast<std::size_t>(begin + slot)]);
    }
  }
  return array;
}

/// What a graph that begins with raw columns and the fast engine make of the same jets.
double largest_difference(const Graph& graph, const FastPredictor& predictor, std::int64_t least,
                          std::uint64_t seed) {
  const std::int64_t length = predictor.card().length;
  std::vector<std::int64_t> particles = {0, 1, 2, least - 1, least + 2, length};
  for (std::int64_t& count : particles)
    count = std::clamp<std::int64_t>(count, 0, std::min(length, 2 * least));
  const auto made_up = detail::make_up_jets(predictor.inputs(), particles, seed);
  const RawJets jets = made_up->jets();
  // By the rule of Keras scores depend on the slots.
  std::map<std::string, Array> inputs;
  for (const Value& input : graph.inputs) inputs[input.name] = raw_input(input, jets, length);
  const auto found = evaluate(graph, std::move(inputs));
  const std::size_t width = predictor.outputs().size(), classes = predictor.classes().size();
  std::vector<double> expected(particles.size() * width);
  FastPredictor::Scratch scratch = predictor.make_scratch();
  predictor.run(jets, expected, scratch);
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::size_t jet = i / width, output = i % width;
    const double value = output < classes ? found.at("probabilities").values.at(jet * classes + output)
                                          : found.at(predictor.outputs()[output]).values.at(jet);
    largest = larger(largest, std::abs(value - expected[i]) / std::max(1.0, std::abs(expected[i])));
  }
  return largest;
}

/// "part.e=GeV,part.px=GeV"
std::string units_of(const std::vector<InputColumn>& columns) {
  std::vector<std::string> units;
  for (const InputColumn& column : columns)
    if (!column.unit.empty()) units.push_back(column.name + "=" + column.unit);
  return fmt::format("{}", fmt::join(units, ","));
}

}  // namespace

Candidate particle_net_candidate(const std::filesystem::path& bundle, const OnnxOptions& options) {
  auto loaded = std::make_shared<const detail::LoadedParticleNet>(detail::load_particle_net(bundle));
  const std::int64_t least = most_neighbours(loaded->network) + 1;
  Candidate candidate{
      .graph = particle_net_graph(loaded->network, {.opset = options.opset,
                                                    .profile = options.profile,
                                                    .dims = loaded->dims(),
                                                    .card = options.with_features ? &loaded->card : nullptr}),
      .least_particles = least,
      .trials = 3,  // distances that are equal but for their last bits may order neighbours otherwise
      .difference = {}};
  candidate.graph.metadata = {{"card", loaded->content.card},
                              {"classes", fmt::format("{}", fmt::join(loaded->classes, ","))},
                              {"model", loaded->content.model},
                              {"least_particles", fmt::to_string(least)},
                              {"bundle", loaded->content.hash}};
  if (!options.with_features) candidate.graph.metadata["gnn_config"] = gnn_config_json(bundle);
  if (options.with_features) {
    const FastPredictor raw = FastPredictor::load(bundle);
    candidate.graph.metadata["units"] = units_of(raw.inputs());
    candidate.difference = [raw, least](const Graph& graph, std::uint64_t seed) {
      return largest_difference(graph, raw, least, seed);
    };
  } else {
    auto prepared = std::make_shared<const detail::PreparedNetwork>(detail::prepare(loaded->network));
    candidate.difference = [loaded, prepared](const Graph& graph, std::uint64_t seed) {
      return largest_difference(graph, *prepared, loaded->dims(),
                                make_jets(loaded->network, loaded->dims(), seed));
    };
  }
  return candidate;
}

}  // namespace bunchtrain::infer::onnx
