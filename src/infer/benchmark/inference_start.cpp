// SPDX-License-Identifier: Apache-2.0
#include "inference_start.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>

#include "../lite/made_up_jets.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/infer/fast_generator.hpp"
#include "bunchtrain/infer/fast_predictor.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "bunchtrain/weights/bundle.hpp"

namespace bunchtrain::infer::detail {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTimes = 5;  ///< after the first

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

InferenceStart measure(const char* engine, const std::function<void()>& load_and_score) {
  InferenceStart start{.engine = engine};
  std::vector<double> seconds;
  for (int i = 0; i <= kTimes; ++i) {
    const auto begin = Clock::now();
    load_and_score();
    seconds.push_back(seconds_since(begin));
  }
  start.first = seconds.front();
  std::sort(seconds.begin() + 1, seconds.end());
  start.median = seconds[1 + kTimes / 2];
  return start;
}

template <class AnyPredictor>
void score_one(const AnyPredictor& predictor, const RaggedJets& jet) {
  std::vector<double> scores(predictor.outputs().size());
  auto scratch = predictor.make_scratch();
  predictor.run(jet.jets(), scores, scratch);
}

const features::Card& card_of(const FastPredictor& predictor) { return predictor.card(); }
const features::Card& card_of(const Predictor& predictor) { return *predictor.card(); }

void make_one(const FastGenerator& generator) {
  const std::vector<float> latents(static_cast<std::size_t>(generator.latent_size()), 0.1F);
  std::vector<float> images(static_cast<std::size_t>(generator.image_size()));
  FastGenerator::Scratch scratch = generator.make_scratch();
  generator.run(latents, images, scratch);
}

}  // namespace

std::vector<InferenceStart> measure_starts(const InferenceBenchmarkOptions& options) {
  const std::filesystem::path& bundle = options.bundle;
  if (FastGenerator::knows(bundle)) {
    const std::int64_t latent = FastGenerator::load(bundle).latent_size();
    return {measure("fast", [&] { make_one(FastGenerator::load(bundle)); }), measure("plain", [&] {
              Predictor::load(bundle).run({{"latent", at::zeros({1, latent})}});
            })};
  }
  std::vector<InferenceStart> starts;
  // Inputs are those of either engine; whoever knows them first has not loaded the bundle before.
  std::vector<InputColumn> inputs;
  std::unique_ptr<const RaggedJets> jet;
  const auto score = [&](const auto& predictor) {
    if (!jet) {
      inputs = predictor.inputs();
      jet = options.jets ? real_jets(card_of(predictor), inputs, *options.jets, std::vector<std::int64_t>{0})
                         : make_up_jets(inputs, {options.particles}, 1);
    }
    score_one(predictor, *jet);
  };
  try {
    starts.push_back(measure("fast", [&] { score(FastPredictor::load(bundle)); }));
  } catch (const CheckpointError&) {  // said by the measurements that follow
  }
  starts.push_back(measure("plain", [&] {
    const Predictor predictor = Predictor::load(bundle);
    if (!predictor.card())
      throw CheckpointError(fmt::format(
          "{} is of a network without a data card of jets: there is nothing to score", bundle.string()));
    score(predictor);
  }));
  return starts;
}

InferenceExport measure_export(const std::filesystem::path& bundle) {
  try {
    const auto begin = Clock::now();
    const OnnxModel model = make_onnx(bundle);
    return {.seconds = seconds_since(begin),
            .bytes = std::ssize(model.bytes) + std::ssize(model.weights),
            .weight_bytes =
                static_cast<std::int64_t>(std::filesystem::file_size(weights::bundle_weights(bundle)))};
  } catch (const CheckpointError&) {
    return {};
  }
}

}  // namespace bunchtrain::infer::detail
