// SPDX-License-Identifier: Apache-2.0
// lite BUNDLE: a host without LibTorch scores toy jets.

#include <bunchtrain/infer/fast_predictor.hpp>

#include "toy_jets.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto predictor = bunchtrain::infer::FastPredictor::load(argv[1]);
  auto scratch = predictor.make_scratch();
  return score_toy_jets([&](const auto& jets, auto scores) { predictor.run(jets, scores, scratch); });
}
