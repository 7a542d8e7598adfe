// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/inference_benchmark.hpp"

#include <gmock/gmock.h>

#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "bundles.hpp"
#include "lite/made_up_jets.hpp"
#include "unit/features/raw_blocks.hpp"

namespace bunchtrain::infer::test {
namespace {

using ::testing::HasSubstr;

std::string message_of(const InferenceBenchmarkOptions& options) {
  try {
    measure_inference(options);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(InferenceBenchmarkTest, EachEngineScoresEachBatchFromEachNumberOfThreads) {
  const BundleFolder folder;
  weights::Bundle with_ranges =
      make_bundle(features::load_card("top_tagging"), models::ParticleNetOptions::lite());
  add_ranges(with_ranges);
  const auto bundle = folder.write(with_ranges);
  const InferenceBenchmark benchmark = measure_inference(
      {.bundle = bundle, .threads = {1, 3}, .batches = {1, 8}, .particles = 10, .seconds = 0.02});
  std::set<std::tuple<std::string, int, std::int64_t>> measured;
  for (const InferenceSpeed& speed : benchmark.speeds) {
    measured.emplace(speed.engine, speed.threads, speed.batch);
    EXPECT_GE(speed.calls, speed.threads);
    EXPECT_GT(speed.p50, 0);
    EXPECT_GE(speed.p99, speed.p50);
    EXPECT_GT(speed.samples_per_second, 0);
    EXPECT_GE(speed.bytes_per_thread, 0);
  }
  EXPECT_EQ(measured.size(), 12U) << "fast, fast and counting, plain";
  ASSERT_EQ(benchmark.starts.size(), 2U);
  for (const InferenceStart& start : benchmark.starts) {
    EXPECT_GT(start.first, 0) << start.engine;
    EXPECT_GT(start.median, 0) << start.engine;
  }
  EXPECT_GT(benchmark.onnx.seconds, 0);
  EXPECT_GT(benchmark.onnx.weight_bytes, 100000);
  EXPECT_LT(benchmark.onnx.bytes, benchmark.onnx.weight_bytes + 65536);
  EXPECT_TRUE(benchmark.left_out.empty());
}

TEST(InferenceBenchmarkTest, GeneratorsMakeShowers) {
  const BundleFolder folder;
  const InferenceBenchmark benchmark =
      measure_inference({.bundle = folder.write(make_generator_bundle("fixed")),
                         .threads = {1, 2},
                         .batches = {1},
                         .seconds = 0.01});
  EXPECT_EQ(benchmark.starts.size(), 2U);
  EXPECT_GT(benchmark.onnx.seconds, 0);
  std::vector<std::string> engines;
  for (const InferenceSpeed& speed : benchmark.speeds) {
    engines.push_back(speed.engine);
    EXPECT_GT(speed.samples_per_second, 0);
  }
  EXPECT_THAT(engines, ::testing::ElementsAre("fast", "fast", "plain", "plain"));
}

TEST(InferenceBenchmarkTest, WhatCannotBeMeasuredIsSaid) {
  const BundleFolder folder;
  EXPECT_THAT(message_of({.bundle = folder.path()}), HasSubstr("bundle.json is missing"));
  EXPECT_THAT(message_of({}), HasSubstr("the folder of a bundle"));
  EXPECT_THAT(message_of({.bundle = "b", .threads = {}}), HasSubstr("one number or more"));
  EXPECT_THAT(message_of({.bundle = "b", .batches = {0}}), HasSubstr("numbers from 1 on"));
  EXPECT_THAT(message_of({.bundle = "b", .batches = {512}}), HasSubstr("256 at most"));
  EXPECT_THAT(message_of({.bundle = "b", .particles = 0}), HasSubstr("at least 1"));
  EXPECT_THAT(message_of({.bundle = "b", .seconds = 0}), HasSubstr("more than 0"));
  weights::Bundle cardless =
      make_bundle(features::load_card("top_tagging"), models::ParticleNetOptions::lite());
  cardless.card.clear();
  EXPECT_THAT(message_of({.bundle = folder.write(cardless, "cardless")}),
              HasSubstr("without a data card of jets: there is nothing to score"));
  weights::Bundle other = make_bundle(features::load_card("top_tagging"), models::ParticleNetOptions::lite());
  for (const auto& entry : other.weights) other.weights.set(entry.name, entry.tensor.to(at::kDouble));
  const InferenceBenchmark benchmark = measure_inference(
      {.bundle = folder.write(other, "double"), .batches = {1}, .particles = 5, .seconds = 0.01});
  EXPECT_EQ(benchmark.speeds.size(), 1U);
  EXPECT_EQ(benchmark.starts.size(), 1U);
  EXPECT_EQ(benchmark.onnx.seconds, 0);
  EXPECT_THAT(benchmark.left_out, ::testing::ElementsAre(HasSubstr("fast: ")));
}

TEST(InferenceBenchmarkTest, JetsOfAFileAreScoredWithoutTheirPadding) {
  const BundleFolder folder;
  features::Card card = features::load_card("top_tagging");
  card.length = 24;
  const auto bundle = folder.write(make_bundle(card, models::ParticleNetOptions::lite()));
  features::RawColumns raw = features::test::make_top_tagging_block(70, 40);
  const InferenceBenchmark benchmark =
      measure_inference({.bundle = bundle, .batches = {1, 32}, .jets = &raw, .seconds = 0.01});
  EXPECT_EQ(benchmark.jets.file, "synthetic.h5");
  EXPECT_EQ(benchmark.jets.count, 70);
  EXPECT_EQ(benchmark.jets.fewest, 0);
  EXPECT_EQ(benchmark.jets.most, 24) << "as many as the network sees";
  EXPECT_GT(benchmark.jets.mean, 15);
  EXPECT_EQ(benchmark.speeds.size(), 4U);
  EXPECT_THAT(message_of({.bundle = bundle, .batches = {71}, .jets = &raw}),
              HasSubstr("70 at most, as many jets as synthetic.h5 has"));
  EXPECT_THAT(message_of({.bundle = bundle, .batches = {1}, .jets = &raw, .alike = true}),
              HasSubstr("which have as many particles as they have"));
  raw.particle.erase("pz");
  EXPECT_THAT(message_of({.bundle = bundle, .batches = {1}, .jets = &raw}),
              HasSubstr("needs the column 'part.pz', which the jets of synthetic.h5 do not have"));
}

TEST(InferenceBenchmarkTest, CountingNeedsRanges) {
  const BundleFolder folder;
  const InferenceBenchmark benchmark = measure_inference(
      {.bundle =
           folder.write(make_bundle(features::load_card("top_tagging"), models::ParticleNetOptions::lite())),
       .batches = {1},
       .particles = 5,
       .alike = true,
       .seconds = 0.01});
  EXPECT_EQ(benchmark.speeds.size(), 2U);
  EXPECT_THAT(benchmark.left_out, ::testing::ElementsAre(HasSubstr("fast, counting: ")));
}

TEST(InferenceBenchmarkTest, MadeUpJetsFitTheCardsOfTheField) {
  const BundleFolder folder;
  for (const char* name : {"top_tagging", "toy_jets", "jetnet", "quark_gluon"}) {
    const auto bundle =
        folder.write(make_bundle(features::load_card(name), models::ParticleNetOptions::lite()));
    const Predictor predictor = Predictor::load(bundle);
    const auto jets = detail::make_up_jets(predictor.inputs(), detail::make_up_particles(5, 20, 128, 3), 1);
    std::vector<double> scores(5 * predictor.outputs().size());
    Scratch scratch = predictor.make_scratch();
    EXPECT_NO_THROW(predictor.run(jets->jets(), scores, scratch)) << name;
  }
}

}  // namespace
}  // namespace bunchtrain::infer::test
