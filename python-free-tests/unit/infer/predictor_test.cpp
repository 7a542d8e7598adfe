// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/predictor.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "bunchtrain/infer/fast_generator.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bundles.hpp"
#include "support/message_of.hpp"
#include "unit/features/raw_blocks.hpp"

namespace bunchtrain::infer::test {
namespace {

using bunchtrain::test::message_of;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

features::Card top_tagging() {
  features::Card card = features::load_card("top_tagging");
  card.length = 24;
  return card;
}

class PredictorTest : public ::testing::Test {
 protected:
  std::vector<double> scores_of(const RawJets& jets) {
    std::vector<double> scores(static_cast<std::size_t>(jets.count) * predictor_.outputs().size());
    predictor_.run(jets, scores, scratch_);
    return scores;
  }
  std::string refusal(const std::function<void(RawJets&, std::vector<RawColumn>&)>& change) {
    Columns columns(raw_, predictor_.inputs());
    RawJets jets = columns.jets();
    change(jets, columns.views());
    jets.columns = columns.views();
    return message_of([&] { scores_of(jets); });
  }

  /// As an evaluation with that precision computes them.
  std::vector<double> evaluate(device::Precision precision) const {
    const auto network = models::create_from(bundle_.model);
    weights::load_into(*network, bundle_.weights, "bundle");
    network->eval();
    std::vector<std::int64_t> rows(static_cast<std::size_t>(raw_.rows));
    std::iota(rows.begin(), rows.end(), 0);
    const auto block = features::FeaturePipeline(card_).evaluate(raw_, rows);
    const at::NoGradGuard no_gradients;
    const device::PrecisionGuard guard(precision, at::kCPU);
    const at::Tensor scores =
        at::softmax(nn::as_model(*network)->forward(block.tensors)["logits"].to(at::kDouble), 1);
    return {scores.const_data_ptr<double>(), scores.const_data_ptr<double>() + scores.numel()};
  }

  const BundleFolder folder_;
  const features::Card card_ = top_tagging();
  const weights::Bundle bundle_ = make_bundle(card_, models::ParticleNetOptions::lite());
  const Predictor predictor_ = Predictor::load(folder_.write(bundle_));
  Scratch scratch_ = predictor_.make_scratch();
  const features::RawColumns raw_ = features::test::make_top_tagging_block(70, 40);
};

TEST_F(PredictorTest, SaysWhatItNeedsAndGives) {
  EXPECT_THAT(predictor_.outputs(), ElementsAre("qcd", "top"));
  std::vector<std::string> names;
  for (const InputColumn& column : predictor_.inputs()) {
    names.push_back(column.name);
    EXPECT_TRUE(column.of_particles);
    EXPECT_EQ(column.unit, "GeV");
  }
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("part.e", "part.px", "part.py", "part.pz"));
  EXPECT_EQ(predictor_.hash().size(), 32U);
  ASSERT_NE(predictor_.card(), nullptr);
  EXPECT_EQ(predictor_.card()->length, 24);
}

TEST_F(PredictorTest, StridesDoublesAndRowSplitsAreTheSameJets) {
  Columns columns(raw_, predictor_.inputs());
  const std::vector<double> dense = scores_of(columns.jets());
  for (std::size_t i = 0; i < dense.size(); i += 2) EXPECT_NEAR(dense[i] + dense[i + 1], 1, 1e-12);

  // Four interleaved columns of doubles, as an array of structs.
  const std::size_t entries = static_cast<std::size_t>(raw_.rows * raw_.slots);
  std::vector<double> structs(4 * entries);
  std::vector<RawColumn> views = columns.views();
  for (std::size_t c = 0; c < 4; ++c) {
    for (std::size_t i = 0; i < entries; ++i) structs[4 * i + c] = views[c].values[i];
    views[c].values = {};
    views[c].doubles = std::span(structs).subspan(c);
    views[c].particle_stride = 4;
    views[c].jet_stride = 4 * raw_.slots;
  }
  RawJets jets = columns.jets();
  jets.columns = views;
  EXPECT_EQ(scores_of(jets), dense);

  // Ragged: the particles alone, one jet's behind another's.
  std::vector<std::vector<float>> packed(4);
  std::vector<std::int64_t> splits = {0};
  for (std::int64_t row = 0; row < raw_.rows; ++row) {
    for (std::int64_t slot = 0; slot < std::min<std::int64_t>(row % 61, raw_.slots); ++slot)
      for (std::size_t c = 0; c < 4; ++c)
        packed[c].push_back(columns.views()[c].values[static_cast<std::size_t>(row * raw_.slots + slot)]);
    splits.push_back(static_cast<std::int64_t>(packed[0].size()));
  }
  views = columns.views();
  for (std::size_t c = 0; c < 4; ++c) views[c].values = packed[c];
  EXPECT_EQ(scores_of({.count = raw_.rows, .row_splits = splits, .columns = views}), dense);
}

TEST_F(PredictorTest, NoJetsAndJetsWithoutParticles) {
  Columns columns(raw_, predictor_.inputs());
  RawJets none = columns.jets();
  none.count = 0;
  EXPECT_TRUE(scores_of(none).empty());
  const std::vector<float> zeros(80, 0.0F);
  for (RawColumn& column : columns.views()) column.values = zeros;
  const std::vector<double> scores = scores_of({.count = 2, .slots = 40, .columns = columns.views()});
  EXPECT_NEAR(scores[0] + scores[1], 1, 1e-12);
  EXPECT_EQ(scores[0], scores[2]);
}

TEST_F(PredictorTest, WhatDoesNotFitIsNamed) {
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> odd(raw_.particle.at("e"));
  odd[static_cast<std::size_t>(5 * raw_.slots + 2)] = nan;
  const std::vector<std::int64_t> splits = {0, 3}, falling(71, 1), counts(70, 41);
  const std::vector<double> one(1);
  struct Case {
    std::function<void(RawJets&, std::vector<RawColumn>&)> change;
    std::vector<std::string> words;
  };
  for (const auto& [change, words] : std::vector<Case>{
           {[](auto&, auto&columns) { columns.erase(columns.begin()); },
            {"the network needs the column 'part.", "given were part."}},
           {[](auto&, auto&columns) { columns.clear(); }, {"given were none"}},
           {[](auto&, auto&columns) { columns[1].unit = "MeV"; },
            {"unit of the column 'part.", "MeV", "GeV, as in the files"}},
           {[](auto&, auto&columns) { columns[0].values = columns[0].values.first(2799); },
            {"2799 values", "2800"}},
           {[](auto&, auto&columns) { columns[0].jet_stride = 41; }, {"2800 values", "2869"}},
           {[](auto&, auto&columns) { columns[0].jet_stride = std::numeric_limits<std::int64_t>::max(); },
            {"its strides reach"}},
           {[](auto&, auto&columns) { columns[0].particle_stride = 0; }, {"strides 0 and 0"}},
           {[](auto&, auto&columns) { columns[0].jet_stride = -1; }, {"strides -1 and 1"}},
           {[&](auto&, auto&columns) { columns[0].doubles = one; }, {"not both"}},
           {[](auto&jets, auto&) { jets.slots = -1; }, {"slots of jets"}},
           {[&](auto&jets, auto&) { jets.row_splits = splits; },
            {"row splits of jets", "71 ascending numbers"}},
           {[&](auto&jets, auto&) { jets.row_splits = falling; }, {"row splits of jets"}},
           {[&](auto&jets, auto&) { jets.counts = counts; }, {"counts of jets", "0 to 40 slots"}},
           {[&](auto&jets, auto&) { jets.counts = splits; }, {"70, one per jet"}},
           {[&](auto&jets, auto&) {
              jets.counts = std::span(counts);
              jets.slots = 50;
              jets.row_splits = falling;
            },
            {"row splits or counts, not both"}},
           {[&](auto&, auto&columns) {
              for (RawColumn& column : columns)
                if (column.name == "part.e") column.values = odd;
            },
            {"jets, row 5, particle 2: part.e is NaN"}}}) {
    const std::string said = refusal(change);
    for (const std::string& word : words) EXPECT_THAT(said, HasSubstr(word));
  }
  EXPECT_THAT(message_of([&] {
                Columns columns(raw_, predictor_.inputs());
                RawJets jets = columns.jets();
                jets.count = -1;
                std::vector<double> scores;
                predictor_.run(jets, scores, scratch_);
              }),
              HasSubstr("count of jets"));
}

TEST_F(PredictorTest, ScratchAndScoresMustFit) {
  Columns columns(raw_, predictor_.inputs());
  std::vector<double> scores(140);
  const Predictor other = Predictor::load(folder_.write(bundle_, "other"));
  Scratch foreign = other.make_scratch();
  EXPECT_THAT(message_of([&] { predictor_.run(columns.jets(), scores, foreign); }),
              HasSubstr("scratch is that of another predictor"));
  Scratch moved = predictor_.make_scratch();
  Scratch taken = std::move(moved);
  EXPECT_THAT(message_of([&] { predictor_.run(columns.jets(), scores, moved); }), HasSubstr("moved from"));
  scores.resize(139);
  EXPECT_THAT(message_of([&] { predictor_.run(columns.jets(), scores, taken); }),
              AllOf(HasSubstr("139"), HasSubstr("140 for 70 jets")));
  const Predictor copy = predictor_;
  scores.resize(140);
  copy.run(columns.jets(), scores, taken);
  EXPECT_EQ(scores, scores_of(columns.jets()));
  EXPECT_THAT(message_of([&] { Predictor::load(folder_.write(bundle_), {.batch = 0}); }), HasSubstr("batch"));
}

TEST_F(PredictorTest, CountsInputsOutsideTheRangesOfTheTraining) {
  weights::Bundle bundle = bundle_;
  add_ranges(bundle);
  const auto path = folder_.write(bundle, "ranges");
  std::map<std::string, InputCounts> expected;
  for (const char* name : {"e", "px", "py", "pz"})
    for (std::int64_t row = 0; row < raw_.rows; ++row)
      for (std::int64_t slot = 0; slot < std::min<std::int64_t>(row % 61, raw_.slots); ++slot) {
        const float value = raw_.particle.at(name)[static_cast<std::size_t>(row * raw_.slots + slot)];
        InputCounts& counts = expected["part." + std::string(name)];
        ++counts.values;
        counts.below += value < -40;
        counts.above += value > 60;
      }
  EXPECT_GT(expected["part.px"].below, 0);
  EXPECT_GT(expected["part.e"].above, 0);
  for (const Engine engine : {Engine::plain, Engine::fast}) {
    const Predictor predictor = Predictor::load(path, {.engine = engine, .batch = 32});
    Columns columns(raw_, predictor.inputs());
    std::vector<double> scores(140), counted(140);
    Scratch scratch = predictor.make_scratch(), counting = predictor.make_scratch({.count_outside = true});
    predictor.run(columns.jets(), scores, scratch);
    predictor.run(columns.jets(), counted, counting);
    predictor.run(columns.jets(), counted, counting);
    EXPECT_EQ(counted, scores);
    EXPECT_TRUE(scratch.counts().empty());
    ASSERT_EQ(counting.counts().size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) {
      const InputColumn& input = predictor.inputs()[i];
      EXPECT_EQ(input.range, (features::ValueRange{-40, 60}));
      const InputCounts once = expected.at(input.name);
      EXPECT_EQ(counting.counts()[i], (InputCounts{2 * once.values, 2 * once.below, 2 * once.above}))
          << input.name;
    }
    counting.reset_counts();
    EXPECT_EQ(counting.counts()[0], InputCounts{});
  }
}

TEST_F(PredictorTest, WithoutRangesNothingIsCounted) {
  for (const Engine engine : {Engine::plain, Engine::fast}) {
    const Predictor silent = Predictor::load(folder_.write(bundle_), {.engine = engine});
    EXPECT_FALSE(silent.inputs()[0].range);
    EXPECT_THAT(message_of([&] { silent.make_scratch({.count_outside = true}); }),
                AllOf(HasSubstr("does not say which values of 'part."), HasSubstr("bunchtrain 0.1")));
    for (const char* text : {"no JSON", R"({"jets": 3})", R"({"jets": 3, "columns": {"part.e": [2, 1]}})"}) {
      weights::Bundle damaged = bundle_;
      damaged.metadata[features::kRangesKey] = text;
      EXPECT_THAT(message_of([&] { Predictor::load(folder_.write(damaged, "damaged"), {.engine = engine}); }),
                  AllOf(HasSubstr("of the ranges of its inputs cannot be read"), HasSubstr("damaged")))
          << text;
    }
    const Predictor generator =
        Predictor::load(folder_.write(make_generator_bundle("fixed"), "showers"), {.engine = engine});
    EXPECT_THAT(message_of([&] { generator.make_scratch({.count_outside = true}); }),
                HasSubstr("no inputs to count"));
  }
}

TEST_F(PredictorTest, ACardThatCountsParticlesNeedsCounts) {
  features::Card card = card_;
  card.mask.clear();
  card.layout.counts = {.dataset = "jet_nparticles"};
  const Predictor counting =
      Predictor::load(folder_.write(make_bundle(card, models::ParticleNetOptions::lite()), "counting"));
  Scratch scratch = counting.make_scratch();
  Columns columns(raw_, counting.inputs());
  std::vector<double> scores(140);
  EXPECT_THAT(message_of([&] { counting.run(columns.jets(), scores, scratch); }),
              HasSubstr("give the jets row_splits, or counts"));
  std::vector<std::int64_t> counts;
  for (std::int64_t row = 0; row < 70; ++row) counts.push_back(std::min<std::int64_t>(row % 61, 40));
  RawJets jets = columns.jets();
  jets.counts = counts;
  counting.run(jets, scores, scratch);
  EXPECT_EQ(scores, scores_of(jets));
}

TEST_F(PredictorTest, BundlesThatCannotBeUsedAreRefused) {
  struct Case {
    std::function<void(weights::Bundle&)> change;
    std::string words;
  };
  for (const auto& [change, words] :
       std::vector<Case>{{[](auto& b) { b.model = ""; }, "does not say how it is built"},
                         {[](auto& b) { b.model = R"({"model": "mine"})"; },
                          "of the network 'mine', which this program cannot build"},
                         {[](auto& b) { b.model = R"({"model": "particlenet", "num_features": 7})"; },
                          "belongs to another model"},
                         {[](auto& b) { b.card = "card = 2"; }, "version 1"},
                         {[](auto& b) { b.card = features::to_toml(features::load_card("hgcal_rechits")); },
                          "a network of events in ragged batches, which a Predictor does not score"},
                         {[](auto& b) {
                            features::Card jets = features::load_card("toy_jets");
                            jets.length = 24;
                            b.card = features::to_toml(jets);
                            b.classes.clear();
                          },
                          "a network of the classes qcd,two_prong,three_prong must give \"logits\" [1, 3]"},
                         {[](auto& b) {
                            b.classes = {"top", "qcd"};
                          },
                          "trained on the classes top,qcd, its card says qcd,top"},
                         {[](auto& b) { b.card.replace(b.card.find("points"), 6, "places"); },
                          "reads 'points', which its card does not make"},
                         {[this](auto& b) {
                            features::Card card = card_;
                            card.length = 5;
                            b.card = features::to_toml(card);
                          },
                          "looks for 7 neighbours of each particle, but jets have only 5 slots"},
                         {[this](auto& b) {
                            auto options = models::ParticleNetOptions::lite();
                            options.heads = {{.name = "mass"}};
                            b = make_bundle(card_, options);
                          },
                          "estimates 'mass', which is no target of its card"}}) {
    weights::Bundle bundle = bundle_;
    change(bundle);
    EXPECT_THAT(message_of([&] { Predictor::load(folder_.write(bundle, "bad")); }), HasSubstr(words));
  }
  EXPECT_THAT(message_of([&] { Predictor::load(folder_.write(bundle_, "bad") / "nothing"); }),
              HasSubstr("nothing"));
  const auto damaged = folder_.write(bundle_, "bad");
  std::filesystem::resize_file(damaged / "model.safetensors", 100);
  EXPECT_THAT(message_of([&] { Predictor::load(damaged); }), HasSubstr("bytes instead of"));
}

/// Bits of evaluations, and as near to float32 as 8 bits of mantissa are: 0.0007 here, 0.0001 in float16.
TEST_F(PredictorTest, NarrowPrecisionsAreThoseOfEvaluations) {
  using device::Precision;
  const Predictor wide = Predictor::load(folder_.write(bundle_));
  Columns columns(raw_, wide.inputs());
  const std::vector<double> expected = scores_of(columns.jets());
  EXPECT_EQ(expected, evaluate(Precision::float32));
  for (const Precision precision : {Precision::bfloat16, Precision::float16}) {
    const Predictor narrow = Predictor::load(folder_.path() / "net", {.precision = precision});
    const std::vector<double> evaluated = evaluate(precision);
    double difference = 0;
    for (std::size_t i = 0; i < expected.size(); ++i)
      difference = std::max(difference, std::abs(evaluated[i] - expected[i]));
    RecordProperty(std::string(to_string(precision)), std::to_string(difference));
    EXPECT_GT(difference, 1e-6);
    EXPECT_LT(difference, 0.005) << to_string(precision);
    // Threads of one and the other at once, and a host that has autocast on.
    std::vector<std::vector<double>> scores(4, std::vector<double>(expected.size()));
    std::vector<std::jthread> callers;
    for (std::size_t i = 0; i < scores.size(); ++i)
      callers.emplace_back([&, i] {
        const Predictor& predictor = i % 2 == 0 ? wide : narrow;
        Scratch scratch = predictor.make_scratch();
        const device::PrecisionGuard host(i < 2 ? Precision::float16 : Precision::float32, at::kCPU);
        predictor.run(columns.jets(), scores[i], scratch);
        EXPECT_EQ(at::autocast::is_autocast_enabled(at::kCPU), i < 2);
        if (i < 2) {
          EXPECT_EQ(at::autocast::get_autocast_dtype(at::kCPU), at::kHalf);
        }
      });
    callers.clear();
    for (std::size_t i = 0; i < scores.size(); ++i)
      EXPECT_EQ(scores[i], i % 2 == 0 ? expected : evaluated) << i;
  }
}

TEST_F(PredictorTest, TensorsOfNarrowPrecisionsAreFloat32) {
  const auto bundle = folder_.write(make_generator_bundle("fixed"), "narrow");
  const at::Tensor latent = at::randn({2, 200});
  const at::Tensor wide = Predictor::load(bundle).run({{"latent", latent}})["image"],
                   narrow = Predictor::load(bundle, {.precision = device::Precision::bfloat16})
                                .run({{"latent", latent}})["image"];
  EXPECT_EQ(narrow.scalar_type(), at::kFloat);
  const float difference = (narrow - wide).abs().max().item<float>();
  RecordProperty("share", std::to_string(difference / wide.max().item<float>()));
  EXPECT_GT(difference, 0);
  EXPECT_LT(difference, 0.05F * wide.max().item<float>());
}

TEST_F(PredictorTest, PrecisionsAndDevicesThatAreNotThere) {
  using device::Precision;
  const auto net = folder_.write(bundle_);
  const auto refusal_of = [&](const PredictorOptions& options) {
    return message_of([&] { Predictor::load(net, options); });
  };
  EXPECT_THAT(refusal_of({.precision = Precision::tf32}), HasSubstr("a switch of the process"));
  EXPECT_THAT(refusal_of({.precision = Precision::float64}), HasSubstr("float32, bfloat16, float16"));
  EXPECT_THAT(refusal_of({.device = c10::Device(c10::kMeta)}), HasSubstr("cpu or cuda"));
  EXPECT_THAT(refusal_of({.device = c10::Device(c10::kCUDA, 99)}),
              AnyOf(HasSubstr("device = cuda"), HasSubstr("there is no GPU 99")));
  for (const PredictorOptions& options :
       {PredictorOptions{.engine = Engine::fast, .precision = Precision::bfloat16},
        PredictorOptions{.engine = Engine::fast, .device = c10::kCUDA}})
    EXPECT_THAT(refusal_of(options), HasSubstr("the fast engine computes in float32 on the CPU"));
  weights::Bundle in_double = bundle_;
  for (const auto& entry : in_double.weights) in_double.weights.set(entry.name, entry.tensor.to(at::kDouble));
  EXPECT_THAT(message_of([&] {
                Predictor::load(folder_.write(in_double, "double"), {.precision = Precision::bfloat16});
              }),
              HasSubstr("whose network is in double precision"));
}

TEST_F(PredictorTest, HeadsFollowTheClasses) {
  features::Card card = card_;
  card.targets = {{.name = "mass", .expression = "jet.ttv", .unit = "GeV"}};
  auto options = models::ParticleNetOptions::lite();
  options.heads = {{.name = "mass", .mean = 100, .width = 20, .own_width = true}};
  const Predictor predictor = Predictor::load(folder_.write(make_bundle(card, options), "heads"));
  EXPECT_THAT(predictor.classes(), ElementsAre("qcd", "top"));
  EXPECT_THAT(predictor.outputs(), ElementsAre("qcd", "top", "mass", "mass_width"));
  Columns columns(raw_, predictor.inputs());
  std::vector<double> scores(280);
  Scratch scratch = predictor.make_scratch();
  predictor.run(columns.jets(), scores, scratch);
  EXPECT_NE(scores[2], 0);
  EXPECT_GT(scores[3], 0);
}

TEST_F(PredictorTest, TheFastEngineMakesShowers) {
  for (const char* variant : {"fixed", "angle"}) {
    const auto bundle = folder_.write(make_generator_bundle(variant), variant);
    const Predictor plain = Predictor::load(bundle), fast = Predictor::load(bundle, {.engine = Engine::fast});
    EXPECT_EQ(fast.hash(), plain.hash());
    EXPECT_TRUE(fast.inputs().empty() && fast.outputs().empty() && fast.classes().empty());
    EXPECT_EQ(fast.card(), nullptr);
    const FastGenerator generator = FastGenerator::load(bundle);
    const at::Tensor latent = at::randn({9, generator.latent_size()});
    const at::Tensor expected = plain.run({{"latent", latent}})["image"],
                     found = fast.run({{"latent", latent}})["image"];
    EXPECT_EQ(found.sizes(), expected.sizes());
    EXPECT_LT((found - expected).abs().max().item<float>(), 1e-5F * expected.max().item<float>()) << variant;
    const at::Tensor alone = fast.run({{"latent", latent.narrow(0, 8, 1)}})["image"];
    EXPECT_TRUE(at::equal(alone, found.narrow(0, 8, 1))) << "batches change no bits";
    EXPECT_EQ(fast.run({{"latent", latent.narrow(0, 0, 0)}})["image"].size(0), 0);
    EXPECT_THAT(message_of([&] {
                  fast.run({{"latent", at::rand({1, 3})}});
                }),
                HasSubstr("takes latent vectors [B, "));
    Scratch scratch = fast.make_scratch();
    EXPECT_THAT(message_of([&] { fast.run(RawJets{}, {}, scratch); }), HasSubstr("give it tensors (latent)"));
  }
}

TEST_F(PredictorTest, TheGeneratorNamesWhatDoesNotFit) {
  const auto bundle = folder_.write(make_generator_bundle("fixed"), "generator");
  const FastGenerator generator = FastGenerator::load(bundle), other = FastGenerator::load(bundle);
  FastGenerator::Scratch scratch = generator.make_scratch();
  EXPECT_GT(scratch.bytes(), 0U);
  std::vector<float> latents(200), images(15625);
  EXPECT_EQ(message_of([&] { generator.run(latents, images, scratch); }), "no error");
  EXPECT_THAT(message_of([&] { other.run(latents, images, scratch); }), HasSubstr("of another predictor"));
  EXPECT_THAT(message_of([&] { generator.run(std::span(latents).first(199), images, scratch); }),
              HasSubstr("200 numbers for each shower"));
  EXPECT_THAT(message_of([&] { generator.run(latents, std::span(images).first(3), scratch); }),
              HasSubstr("15625 cells for each of 1 showers"));
  EXPECT_THAT(message_of([&] { FastGenerator::load(folder_.write(bundle_, "jets")); }),
              HasSubstr("is of no generator"));
}

TEST_F(PredictorTest, TensorsOfAnyRegisteredModel) {
  const auto generator = models::create_from(R"({"model": "3dgan-generator"})");
  const Predictor showers = Predictor::load(folder_.write(
      {.weights = weights::named_state(*generator), .model = R"({"model": "3dgan-generator"})"}, "showers"));
  EXPECT_TRUE(showers.inputs().empty());
  EXPECT_EQ(showers.card(), nullptr);
  const NamedTensors images = showers.run({{"latent", at::rand({1, 200})}});
  EXPECT_EQ((*images.begin()).tensor.size(0), 1);
  EXPECT_THAT(message_of([&] { showers.run(NamedTensors{}); }), HasSubstr("latent"));
  EXPECT_THAT(message_of([&] {
                showers.run({{"latent", at::rand({1, 3})}});
              }),
              ::testing::Not(HasSubstr("no error")));
  Scratch scratch = showers.make_scratch();
  EXPECT_THAT(message_of([&] { showers.run(RawJets{}, {}, scratch); }),
              HasSubstr("scores no jets: give it tensors (latent"));
  EXPECT_THAT(message_of([&] {
                predictor_.run({{"points", at::zeros({1, 24, 2})},
                                {"features", at::zeros({1, 24, 3})},
                                {"mask", at::zeros({1, 24}, at::kBool)}});
              }),
              HasSubstr("ParticleNet expects"));
  EXPECT_THAT(message_of([&] {
                predictor_.run({{"points", at::zeros({1, 24, 2})},
                                {"features", at::zeros({1, 24, 7}, at::kDouble)},
                                {"mask", at::zeros({1, 24}, at::kBool)}});
              }),
              HasSubstr("the network does not take these tensors"));
}

}  // namespace
}  // namespace bunchtrain::infer::test
