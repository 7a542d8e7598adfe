// SPDX-License-Identifier: Apache-2.0
// embed BUNDLE: a strict host, compiled with -Ofast, scores toy jets by the shared library. What is not finite is an error
// there too, whatever this program's compiler believes of NaN.

#include <bunchtrain/infer/c_api.h>
#include <bunchtrain/core/error.hpp>
#include <bunchtrain/infer/fast_generator.hpp>
#include <bunchtrain/infer/fast_predictor.hpp>
#include <bunchtrain/infer/model_card.hpp>
#include <bunchtrain/infer/model_folder.hpp>
#include <bunchtrain/infer/onnx_export.hpp>

#include <bit>
#include <string_view>

#include "toy_jets.hpp"

// What hosts were compiled with: other sizes are another minor version.
#if defined(__x86_64__) && defined(__GLIBCXX__)
using namespace bunchtrain::infer;
static_assert(sizeof(CardMetric) == 64);
static_assert(sizeof(FastGenerator) == 16);
static_assert(sizeof(FastPredictor) == 16);
static_assert(sizeof(FastPredictor::Scratch) == 8);
static_assert(sizeof(InputColumn) == 96);
static_assert(sizeof(InputCounts) == 24);
static_assert(sizeof(ListedModel) == 184);
static_assert(sizeof(ModelCardOptions) == 96);
static_assert(sizeof(ModelFault) == 64);
static_assert(sizeof(OnnxModel) == 96);
static_assert(sizeof(OnnxOptions) == 24);
static_assert(sizeof(RawColumn) == 80);
static_assert(sizeof(RawJets) == 64);
static_assert(sizeof(ScratchOptions) == 16);
static_assert(sizeof(bunchtrain_column) == 56);
static_assert(sizeof(bunchtrain_jets) == 48);
#endif

namespace {

using bunchtrain::infer::FastPredictor;

/// Whether a jet with such an energy is refused, by a message that names the column.
bool refuses(const FastPredictor& predictor, float energy) {
  const std::vector<float> ones(3, 1.0F), energies = {5.0F, energy, 3.0F};
  const std::vector<bunchtrain::infer::RawColumn> columns = {{.name = "part.px", .values = ones},
                                                             {.name = "part.py", .values = ones},
                                                             {.name = "part.pz", .values = ones},
                                                             {.name = "part.e", .values = energies}};
  std::vector<double> scores(2);
  auto scratch = predictor.make_scratch();
  try {
    predictor.run({.count = 1, .slots = 3, .columns = columns}, scores, scratch);
  } catch (const bunchtrain::DataError& error) {
    return std::string_view(error.what()).find("part.e") != std::string_view::npos;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto predictor = FastPredictor::load(argv[1]);
  auto scratch = predictor.make_scratch();
  if (!refuses(predictor, std::bit_cast<float>(0x7fc00000)) ||
      !refuses(predictor, std::bit_cast<float>(0x7f800000)))
    return 3;
  bunchtrain_predictor* none = nullptr;
  if (bunchtrain_load("/nowhere", &none) != BUNCHTRAIN_BAD_BUNDLE || none) return 4;
  return score_toy_jets([&](const auto& jets, auto scores) { predictor.run(jets, scores, scratch); });
}
