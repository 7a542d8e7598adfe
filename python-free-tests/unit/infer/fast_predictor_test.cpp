// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/fast_predictor.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/infer/fast_generator.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "bundles.hpp"
#include "support/message_of.hpp"
#include "unit/features/raw_blocks.hpp"

namespace {

std::atomic<std::int64_t> allocations = 0;

}  // namespace

// Counts what any library of the program asks for.
void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  ++allocations;
  const auto line = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(line, (bytes + line - 1) / line * line + line)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace bunchtrain::infer::test {
namespace {

using bunchtrain::test::message_of;
using models::ParticleNetOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

features::Card top_tagging(std::int64_t length) {
  features::Card card = features::load_card("top_tagging");
  card.length = length;
  return card;
}

class FastPredictorTest : public ::testing::Test {
 protected:
  std::vector<double> scores_of(const FastPredictor& predictor, const RawJets& jets) const {
    std::vector<double> scores(static_cast<std::size_t>(jets.count) * predictor.outputs().size());
    FastPredictor::Scratch scratch = predictor.make_scratch();
    predictor.run(jets, scores, scratch);
    return scores;
  }
  /// Both engines on jets of 0 to 60 particles: fewer than neighbours, more than slots.
  void expect_alike(const weights::Bundle& bundle) const {
    const auto path = folder_.write(bundle);
    const Predictor plain = Predictor::load(path);
    const FastPredictor fast = FastPredictor::load(path);
    EXPECT_EQ(fast.outputs(), plain.outputs());
    EXPECT_EQ(fast.inputs(), plain.inputs());
    EXPECT_EQ(fast.hash(), plain.hash());
    Columns columns(raw_, plain.inputs());
    std::vector<double> expected(static_cast<std::size_t>(raw_.rows) * plain.outputs().size());
    Scratch scratch = plain.make_scratch();
    plain.run(columns.jets(), expected, scratch);
    const std::vector<double> scores = scores_of(fast, columns.jets());
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double size = std::max(1.0, std::abs(expected[i]));
      ASSERT_NEAR(scores[i] / size, expected[i] / size, 1e-6) << "jet " << i / plain.outputs().size();
    }
  }

  const BundleFolder folder_;
  const features::RawColumns raw_ = features::test::make_top_tagging_block(122, 70);
};

TEST_F(FastPredictorTest, AgreesWithThePlainEngine) {
  const features::Card card = top_tagging(40);
  expect_alike(make_bundle(card, ParticleNetOptions::lite()));
  auto keras = ParticleNetOptions::lite();
  keras.padding = models::PaddingRule::keras;
  expect_alike(make_bundle(card, keras));
  // As many channels in as out: no linear layer in the shortcut. Widths that are no multiple of a vector.
  expect_alike(
      make_bundle(card, {.blocks = {{4, {9, 17, 7}}, {12, {8, 5, 7}}, {1, {3, 3, 3}}}, .hidden = 11}));
  keras.blocks = {{39, {8, 8, 8}}, {2, {8, 8, 8}}};
  keras.fusion = true;
  expect_alike(make_bundle(card, keras));
}

TEST_F(FastPredictorTest, TheLargeNetworkAndFusion) {
  expect_alike(make_bundle(top_tagging(64), {}));
  expect_alike(
      make_bundle(top_tagging(30), {.fusion = true, .batch_norm_rows = models::BatchNormRows::real}));
}

TEST_F(FastPredictorTest, HeadsFollowTheClasses) {
  features::Card card = top_tagging(24);
  card.targets = {{.name = "mass", .expression = "jet.ttv", .unit = "GeV"},
                  {.name = "wide", .expression = "jet.ttv"}};
  auto options = ParticleNetOptions::lite();
  options.heads = {{.name = "mass", .mean = 100, .width = 20, .own_width = true}, {.name = "wide"}};
  expect_alike(make_bundle(card, options));
}

TEST_F(FastPredictorTest, ScoresDependOnNeitherBatchesNorThreads) {
  const FastPredictor predictor =
      FastPredictor::load(folder_.write(make_bundle(top_tagging(40), ParticleNetOptions::lite())));
  Columns columns(raw_, predictor.inputs());
  const std::vector<double> expected = scores_of(predictor, columns.jets());
  for (const int threads : {1, 2, 4, 8}) {
    std::vector<double> scores(expected.size(), -1);
    std::vector<std::jthread> callers;
    for (int t = 0; t < threads; ++t)
      callers.emplace_back([&, t] {
        FastPredictor::Scratch scratch = predictor.make_scratch();
        std::vector<RawColumn> views;
        for (std::int64_t jet = t; jet < raw_.rows; jet += threads)
          predictor.run(part(columns.jets(), views, jet, 1),
                        std::span(scores).subspan(static_cast<std::size_t>(2 * jet), 2), scratch);
      });
    callers.clear();
    EXPECT_EQ(scores, expected) << threads << " threads";
  }
}

TEST_F(FastPredictorTest, AllocatesNothingOnceWarm) {
  for (const bool sorted : {false, true}) {
    features::Card card = top_tagging(40);
    card.sort_by_pt = sorted;
    weights::Bundle bundle = make_bundle(card, ParticleNetOptions::lite());
    add_ranges(bundle);
    const FastPredictor predictor = FastPredictor::load(folder_.write(bundle));
    Columns columns(raw_, predictor.inputs());
    std::vector<double> scores(2 * static_cast<std::size_t>(raw_.rows));
    FastPredictor::Scratch scratch = predictor.make_scratch({.count_outside = sorted});
    EXPECT_GT(scratch.bytes(), 0U);
    EXPECT_LT(scratch.bytes(), std::size_t{8} << 20);
    predictor.run(columns.jets(), scores, scratch);
    const std::int64_t before = allocations;
    predictor.run(columns.jets(), scores, scratch);
    EXPECT_EQ(allocations - before, 0) << (sorted ? "sorted and counted" : "as stored");
  }
}

TEST_F(FastPredictorTest, ScratchesStayBelowTheirBound) {
  const FastPredictor predictor =
      FastPredictor::load(folder_.write(make_bundle(top_tagging(40), ParticleNetOptions::lite())));
  Columns columns(raw_, predictor.inputs());
  const std::vector<double> expected = scores_of(predictor, columns.jets());
  FastPredictor::Scratch wide = predictor.make_scratch();
  std::vector<double> scores(expected.size());
  predictor.run(columns.jets(), scores, wide);
  const std::string refusal = message_of([&] { predictor.make_scratch({.most_bytes = 1000}); });
  EXPECT_THAT(refusal, HasSubstr("at least "));
  const auto least = std::stoll(refusal.substr(refusal.find("at least ") + 9));
  for (const std::int64_t most : {least + 400, least + 9000}) {
    FastPredictor::Scratch narrow = predictor.make_scratch({.most_bytes = most});
    EXPECT_LT(narrow.bytes(), wide.bytes());
    predictor.run(columns.jets(), scores, narrow);
    EXPECT_EQ(scores, expected);
    EXPECT_LE(static_cast<std::int64_t>(narrow.bytes()), most);
    const std::vector<float> zeros(10000, 0.0F);
    std::vector<RawColumn> long_columns = columns.views();
    for (RawColumn& column : long_columns) column.values = zeros;
    EXPECT_THAT(message_of([&] {
                  predictor.run({.count = 1, .slots = 10000, .columns = long_columns},
                                std::span(scores).first(2), narrow);
                }),
                ::testing::AllOf(HasSubstr("most_bytes of the scratch"), HasSubstr("raw columns of jet 0")));
  }
  const Predictor plain = Predictor::load(folder_.path() / "net");
  EXPECT_THAT(message_of([&] { plain.make_scratch({.most_bytes = 1 << 20}); }),
              HasSubstr("only the fast engine keeps its memory below a bound"));
}

TEST_F(FastPredictorTest, GeneratorsAllocateNothing) {
  for (const char* variant : {"fixed", "angle"}) {
    const FastGenerator generator =
        FastGenerator::load(folder_.write(make_generator_bundle(variant), variant));
    std::vector<float> latents(static_cast<std::size_t>(generator.latent_size()), 0.1F),
        images(static_cast<std::size_t>(generator.image_size()));
    FastGenerator::Scratch scratch = generator.make_scratch();
    EXPECT_LT(scratch.bytes(), std::size_t{32} << 20);
    const std::int64_t before = allocations;
    generator.run(latents, images, scratch);
    EXPECT_EQ(allocations - before, 0) << variant;
  }
}

TEST_F(FastPredictorTest, BundlesOfNewerProgramsAreRefused) {
  const auto path = folder_.write(make_bundle(top_tagging(24), ParticleNetOptions::lite()));
  nlohmann::json index = nlohmann::json::parse(std::ifstream(path / "bundle.json"));
  index["content"]["version"] = 3;
  index["xxh3_128"] = hash_hex(index["content"].dump(1));
  std::ofstream(path / "bundle.json") << index.dump();
  for (const Engine engine : {Engine::plain, Engine::fast})
    EXPECT_THAT(message_of([&] { Predictor::load(path, {.engine = engine}); }),
                ::testing::AllOf(HasSubstr("of version 3"), HasSubstr("reads 1 and 2")));
  EXPECT_THAT(message_of([&] { FastPredictor::load(path); }), HasSubstr("of version 3"));
}

TEST_F(FastPredictorTest, BundlesThatCannotBeUsedAreRefused) {
  const features::Card card = top_tagging(24);
  const weights::Bundle sound = make_bundle(card, ParticleNetOptions::lite());
  struct Case {
    std::function<void(weights::Bundle&)> change;
    std::string words;
  };
  for (const auto& [change, words] : std::vector<Case>{
           {[](auto& b) { b.model = R"({"model": "mine"})"; },
            "of the network 'mine': the fast engine knows particlenet"},
           {[](auto& b) { b.model = R"({"model": "particlenet", "depth": 3})"; }, "depth"},
           {[](auto& b) { b.model = R"({"model": "particlenet", "num_features": 7})"; },
            "belongs to another model"},
           {[](auto& b) { b.card = ""; }, "does not say the data card"},
           {[](auto& b) { b.card = "card = 2"; }, "version 1"},
           {[](auto& b) {
              b.classes = {"top", "qcd"};
            },
            "trained on the classes top,qcd, its card says qcd,top"},
           {[](auto& b) { b.card.replace(b.card.find("points"), 6, "places"); },
            "reads 'points', which its card does not make"},
           {[](auto& b) { b.card = features::to_toml(top_tagging(5)); },
            "looks for 7 neighbours of each particle, its card has only 5 slots"},
           {[](auto& b) {
              auto options = ParticleNetOptions::lite();
              options.heads = {{.name = "mass"}};
              b = make_bundle(top_tagging(24), options);
            },
            "estimates 'mass', which is no target of its card"},
           {[](auto& b) {
              features::Card jets = features::load_card("toy_jets");
              jets.length = 24;
              b.card = features::to_toml(jets);
              b.classes.clear();
            },
            "its network has 2 classes, its card 3"},
           {[](auto& b) { b.weights.set("fc.1.bias", b.weights["fc.1.bias"].to(at::kDouble)); },
            "F64, the fast engine computes with F32"},
           {[](auto& b) {
              b.weights.set("fc.1.bias", b.weights["fc.1.bias"] * std::numeric_limits<float>::infinity());
            },
            "holds NaN or infinity"},
           {[](auto& b) {
              features::Card fewer = top_tagging(24);
              fewer.inputs[1].second.pop_back();
              b.card = features::to_toml(fewer);
            },
            "its network reads 7 features, its card makes 6"},
           {[](auto& b) {
              NamedTensors fewer;
              for (const auto& [name, tensor] : b.weights)
                if (name != "fc.1.bias") fewer.set(name, tensor);
              b.weights = fewer;
            },
            "it holds no fc.1.bias"},
           {[](auto& b) { b.weights.set("fc.2.bias", b.weights["fc.1.bias"]); },
            "it holds fc.2.bias, which this network does not have"}}) {
    weights::Bundle bundle = sound;
    change(bundle);
    EXPECT_THAT(message_of([&] { FastPredictor::load(folder_.write(bundle, "bad")); }), HasSubstr(words));
  }
  const auto damaged = folder_.write(sound, "bad");
  std::filesystem::resize_file(damaged / "model.safetensors", 100);
  EXPECT_THAT(message_of([&] { FastPredictor::load(damaged); }), HasSubstr("bytes instead of"));
}

TEST_F(FastPredictorTest, IsAnEngineOfThePredictor) {
  const auto path = folder_.write(make_bundle(top_tagging(24), ParticleNetOptions::lite()));
  const FastPredictor fast = FastPredictor::load(path);
  const Predictor predictor = Predictor::load(path, {.engine = Engine::fast});
  EXPECT_THAT(predictor.classes(), ElementsAre("qcd", "top"));
  EXPECT_EQ(predictor.outputs(), fast.outputs());
  EXPECT_EQ(predictor.inputs(), fast.inputs());
  EXPECT_EQ(predictor.hash(), fast.hash());
  EXPECT_EQ(predictor.card()->length, 24);
  Columns columns(raw_, fast.inputs());
  std::vector<double> scores(2 * static_cast<std::size_t>(raw_.rows));
  Scratch scratch = predictor.make_scratch();
  predictor.run(columns.jets(), scores, scratch);
  EXPECT_EQ(scores, scores_of(fast, columns.jets()));
  EXPECT_THAT(message_of([&] { predictor.run(NamedTensors{}); }),
              HasSubstr("the fast engine scores raw jets"));
  FastPredictor::Scratch foreign = FastPredictor::load(path).make_scratch();
  EXPECT_THAT(message_of([&] { fast.run(columns.jets(), scores, foreign); }),
              HasSubstr("scratch is that of another predictor"));
  FastPredictor::Scratch own = fast.make_scratch();
  EXPECT_THAT(message_of([&] { fast.run(columns.jets(), std::span(scores).first(3), own); }),
              HasSubstr("size of the scores"));
  columns.views()[0].values = columns.views()[0].values.first(7);
  EXPECT_THAT(message_of([&] { fast.run(columns.jets(), scores, own); }), HasSubstr("7 values"));
}

}  // namespace
}  // namespace bunchtrain::infer::test
