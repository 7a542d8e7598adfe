// SPDX-License-Identifier: Apache-2.0
// plain BUNDLE: a host with LibTorch. Writes a bundle of an untrained network, as an export would, and scores toy jets.

#include <bunchtrain/features/card.hpp>
#include <bunchtrain/infer/predictor.hpp>
#include <bunchtrain/models/particle_net.hpp>
#include <bunchtrain/weights/bundle.hpp>
#include <bunchtrain/weights/module_weights.hpp>

#include "toy_jets.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto card = bunchtrain::features::load_card("top_tagging");
  bunchtrain::models::ParticleNet network(bunchtrain::models::ParticleNetOptions::lite(7, 2));
  bunchtrain::weights::write_bundle(argv[1], {.weights = bunchtrain::weights::named_state(*network),
                                              .model = network->description(),
                                              .card = bunchtrain::features::to_toml(card),
                                              .classes = {"qcd", "top"}});
  const auto predictor = bunchtrain::infer::Predictor::load(argv[1]);
  auto scratch = predictor.make_scratch();
  return score_toy_jets([&](const auto& jets, auto scores) { predictor.run(jets, scores, scratch); });
}
