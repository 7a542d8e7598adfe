// SPDX-License-Identifier: Apache-2.0
#include "onnx/graph.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/infer/fast_predictor.hpp"
#include "bunchtrain/infer/model_card.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bundles.hpp"
#include "onnx_jets.hpp"
#include "support/message_of.hpp"
#include "unit/features/raw_blocks.hpp"

namespace bunchtrain::infer::test {
namespace {

using bunchtrain::test::message_of;
using models::ParticleNetOptions;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// Whatever a graph says, it is run or refused.
void run_any(const onnx::Graph& graph) {
  onnx::evaluate(graph, {{"points", {.shape = {2, 4, 2}, .values = std::vector<double>(16, 1.0)}},
                         {"features", {.shape = {2, 4, 7}, .values = std::vector<double>(56, 1.0)}},
                         {"mask", {.shape = {2, 4}, .values = std::vector<double>(8, 1.0)}}});
}

std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class OnnxTest : public ::testing::Test {
 protected:
  std::filesystem::path write(ParticleNetOptions options) const {
    features::Card card = features::load_card("top_tagging");
    card.length = 40;
    for (const models::RegressionHead& head : options.heads)
      card.targets.push_back({.name = head.name, .expression = "jet.ttv"});
    return folder_.write(make_bundle(card, std::move(options)));
  }
  std::filesystem::path file() const { return folder_.path() / "model.onnx"; }

  const BundleFolder folder_;
};

TEST_F(OnnxTest, FilesScoreAsTheirNetworks) {
  auto keras = ParticleNetOptions::lite();
  keras.padding = models::PaddingRule::keras;
  keras.fusion = true;
  auto heads = ParticleNetOptions::lite();
  heads.heads = {{.name = "mass", .mean = 100, .width = 20, .own_width = true}, {.name = "wide"}};
  for (const ParticleNetOptions& options :
       {ParticleNetOptions::lite(), keras, heads,
        ParticleNetOptions{.blocks = {{4, {9, 17, 7}}, {1, {3, 3, 7}}}, .hidden = 11}})
    for (const std::int64_t opset : {13, 17}) {
      const auto bundle = write(options);
      const OnnxModel written = export_onnx(bundle, file(), {.opset = opset});
      EXPECT_LT(written.difference, 1e-5);
      const std::string bytes = read_all(file());
      EXPECT_EQ(bytes, written.bytes);
      const onnx::Graph graph = onnx::decode(bytes, "model.onnx");
      EXPECT_EQ(graph.opset, opset);
      EXPECT_EQ(graph.inputs.size(), 3U);
      EXPECT_EQ(graph.outputs.size(), options.heads.empty() ? 1U : 4U);
      EXPECT_EQ(graph.metadata.at("classes"), "qcd,top");
      EXPECT_EQ(features::parse_card(graph.metadata.at("card"), "card").length, 40);
      EXPECT_EQ(onnx::encode(graph), bytes);
      EXPECT_LT(bytes.size(), std::filesystem::file_size(weights::bundle_weights(bundle)) + 65536);
    }
}

TEST_F(OnnxTest, GraphsGiveWhatThePlainEngineGives) {
  auto keras = ParticleNetOptions::lite();
  keras.padding = models::PaddingRule::keras;
  auto heads = ParticleNetOptions::lite();
  heads.heads = {{.name = "mass", .mean = 100, .width = 20, .own_width = true}, {.name = "wide"}};
  std::mt19937_64 random(5);
  for (const ParticleNetOptions& options : {keras, heads}) {
    const auto bundle = write(options);
    const Predictor predictor = Predictor::load(bundle);
    export_onnx(bundle, file());
    const onnx::Graph graph = onnx::decode(read_all(file()), "model.onnx");
    for (int trial = 0; trial < 4; ++trial) {
      const OnnxJets jets = random_jets(8, random);
      const auto found = onnx::evaluate(graph, jets.arrays());
      for (const auto& [name, values] : jets.plain(predictor))
        for (std::size_t i = 0; i < values.size(); ++i)
          ASSERT_NEAR(found.at(name).values[i], values[i], 1e-5 * std::max(1.0F, std::abs(values[i])))
              << name;
    }
  }
}

TEST_F(OnnxTest, TheLargeNetworkIsProvedToo) { EXPECT_LT(export_onnx(write({}), file()).difference, 1e-5); }

TEST_F(OnnxTest, PaddingAndBatchesAreFree) {
  export_onnx(write(ParticleNetOptions::lite()), file());
  const onnx::Graph graph = onnx::decode(read_all(file()), "model.onnx");
  const auto scores = [&](std::int64_t jets, std::int64_t slots) {
    onnx::Array points{.shape = {jets, slots, 2}, .values = {}},
        features{.shape = {jets, slots, 7}, .values = {}}, mask{.shape = {jets, slots}, .values = {}};
    for (std::int64_t jet = 0; jet < jets; ++jet)
      for (std::int64_t slot = 0; slot < slots; ++slot) {
        const bool real = slot < 5 + jet;
        mask.values.push_back(real ? 1 : 0);
        for (int c = 0; c < 2; ++c) points.values.push_back(real ? std::sin(double(7 * slot + c + jet)) : 0);
        for (int c = 0; c < 7; ++c)
          features.values.push_back(real ? std::cos(double(5 * slot + c * c + jet)) : 0);
      }
    return onnx::evaluate(graph, {{"points", points}, {"features", features}, {"mask", mask}})
        .at("probabilities")
        .values;
  };
  const auto wide = scores(3, 20), narrow = scores(3, 9), one = scores(1, 12);
  ASSERT_EQ(wide.size(), 6U);
  for (std::size_t i = 0; i < wide.size(); ++i) EXPECT_NEAR(wide[i], narrow[i], 1e-6);
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(one[i], wide[i], 1e-6);
}

TEST_F(OnnxTest, FeaturesMayBeginTheGraph) {
  auto keras = ParticleNetOptions::lite();
  keras.padding = models::PaddingRule::keras;
  for (const char* name : {"top_tagging", "toy_jets", "quark_gluon", "jetnet"})
    for (const ParticleNetOptions& options : {ParticleNetOptions::lite(), keras}) {
      features::Card card = features::load_card(name);
      card.length = 30;
      const auto bundle = folder_.write(make_bundle(card, options));
      const OnnxModel model = make_onnx(bundle, {.with_features = true});
      EXPECT_LT(model.difference, 2e-5) << name;
      const onnx::Graph graph = onnx::decode(model.bytes, "model.onnx");
      EXPECT_EQ(graph.inputs.size(), FastPredictor::load(bundle).inputs().size()) << name;
      EXPECT_THAT(graph.metadata.at("units"), HasSubstr("=GeV")) << name;
    }
}

TEST_F(OnnxTest, WhatIsNotFiniteTakesTheCardsNumberWithinTheGraph) {
  features::Card card = features::load_card("top_tagging");
  card.length = 30;
  card.nan = 0.5;
  card.inputs[1].second[0] = {.expression = "log(part.px)", .maximum = 1.0};  // NaN of half of them
  const auto bundle = folder_.write(make_bundle(card, ParticleNetOptions::lite()));
  EXPECT_LT(make_onnx(bundle, {.with_features = true}).difference, 2e-5);
}

TEST_F(OnnxTest, GeneratorsAreConvolutionsOfTheSmallImage) {
  for (const char* variant : {"fixed", "angle"}) {
    const auto bundle = folder_.write(make_generator_bundle(variant), variant);
    const OnnxModel model = export_onnx(bundle, file(), {.profile = OnnxProfile::sofie});
    EXPECT_LT(model.difference, 1e-5) << variant;
    EXPECT_EQ(model.least_particles, 0);
    const onnx::Graph graph = onnx::decode(model.bytes, "model.onnx");
    EXPECT_EQ(onnx::encode(graph), model.bytes);
    EXPECT_EQ(graph.inputs.at(0).name, "latent");
    EXPECT_EQ(graph.outputs.at(0).shape.size(), 4U);
    EXPECT_EQ(graph.nodes.back().layer, variant == std::string("fixed") ? "conv4" : "conv7");
    EXPECT_EQ(graph.metadata.at("energy_unit_gev"), "100");
  }
}

TEST_F(OnnxTest, TheProfileOfSofieKeepsToItsOperators) {
  auto keras = ParticleNetOptions::lite();
  keras.padding = models::PaddingRule::keras;
  for (const ParticleNetOptions& options : {ParticleNetOptions::lite(), keras}) {
    const auto bundle = write(options);
    const OnnxModel model = make_onnx(bundle, {.profile = OnnxProfile::sofie});
    EXPECT_LT(model.difference, 1e-5);
    for (const onnx::Node& node : onnx::decode(model.bytes, "model.onnx").nodes)
      EXPECT_NE(node.type, "GatherND");
    EXPECT_THAT(
        message_of([&] { make_onnx(bundle, {.profile = OnnxProfile::sofie, .with_features = true}); }),
        AllOf(HasSubstr("features needs "), HasSubstr("an operator that ROOT's SOFIE does not have")));
  }
}

TEST_F(OnnxTest, LargeWeightsLieInASecondFile) {
  const auto bundle = write(ParticleNetOptions::lite());
  const OnnxModel whole = make_onnx(bundle), parted = export_onnx(bundle, file(), {.most_bytes = 1000});
  EXPECT_TRUE(whole.weights.empty());
  EXPECT_LT(parted.bytes.size(), whole.bytes.size() / 2);
  EXPECT_EQ(read_all(folder_.path() / "model.onnx.data"), parted.weights);
  const onnx::Graph graph = onnx::decode(parted.bytes, "model.onnx", parted.weights);
  EXPECT_EQ(onnx::encode(graph), whole.bytes);
  EXPECT_THAT(message_of([&] { onnx::decode(parted.bytes, "model.onnx"); }),
              HasSubstr("behind the end of the second file"));
  EXPECT_THAT(message_of([&] {
                std::string damaged = parted.bytes;
                damaged.replace(damaged.find("offset"), 6, "offsat");
                onnx::decode(damaged, "model.onnx", parted.weights);
              }),
              HasSubstr("a constant in a second file has no offset"));
}

TEST_F(OnnxTest, ModelCardsSayWhatTheNetworkNeeds) {
  const auto bundle = write(ParticleNetOptions::lite());
  const OnnxModel onnx = make_onnx(bundle);
  const std::string card = model_card(bundle, {.licence = "CC-BY-4.0",
                                               .onnx = &onnx,
                                               .metrics = {{"AUC", "0.9120 ± 0.0031"}},
                                               .evaluated_on = "scores.json"});
  EXPECT_THAT(
      card, AllOf(HasSubstr("\"AUC\": \"0.9120 ± 0.0031\""), HasSubstr("\"evaluated_on\": \"scores.json\"")));
  const std::string athena = onnx::decode(onnx.bytes, "model.onnx").metadata.at("gnn_config");
  EXPECT_EQ(athena, gnn_config_json(bundle));
  for (const char* part :
       {"\"input_sequences\":[{\"name\":\"points\",\"variables\":[{\"name\":\"",
        "\"offset\":", "\"scale\":", "\"output_names\":[\"qcd\",\"top\"]", "\"onnx_model_version\":\"v1\""})
    EXPECT_THAT(athena, HasSubstr(part));
  for (const char* part :
       {"\"classification of jets\"", "\"CC-BY-4.0\"", "\"part.px\"", "\"GeV\"", "\"opset\": 17"})
    EXPECT_THAT(card, HasSubstr(part));
  const std::string preprocess = preprocess_json(bundle);
  for (const char* part :
       {"\"input_names\"", "\"points\"", "\"var_length\": 40", "\"norm_factor\"", "\"part.deta\""})
    EXPECT_THAT(preprocess, HasSubstr(part));
  const auto showers = folder_.write({.weights = {}, .model = "calo"}, "showers");
  EXPECT_EQ(preprocess_json(showers), "");
  EXPECT_EQ(gnn_config_json(showers), "");
  EXPECT_THAT(model_card(showers), HasSubstr("\"licence\": \"not stated\""));
}

TEST_F(OnnxTest, WhatCannotBeWrittenIsRefused) {
  const auto bundle = write(ParticleNetOptions::lite());
  EXPECT_THAT(message_of([&] { export_onnx(bundle, file(), {.opset = 12}); }), HasSubstr("17 or 13"));
  EXPECT_THAT(message_of([&] { export_onnx(bundle / "none", file()); }), HasSubstr("none"));
  weights::Bundle other = make_bundle(features::load_card("top_tagging"), ParticleNetOptions::lite());
  other.model = R"({"model": "3dgan-generator"})";
  const auto showers = folder_.write(other, "showers");
  EXPECT_THAT(message_of([&] { export_onnx(showers, file()); }), HasSubstr("it holds no dense.weight"));
  other.model = R"({"model": "3dgan-generator", "variant": "bent"})";
  EXPECT_THAT(message_of([&] { export_onnx(folder_.write(other, "bent"), file()); }), HasSubstr("bent"));
  other.model = R"({"model": "calo-diffusion"})";
  EXPECT_THAT(message_of([&] { export_onnx(folder_.write(other, "other"), file()); }),
              HasSubstr("the fast engine knows particlenet"));
  const auto generator = folder_.write(make_generator_bundle("fixed"), "generator");
  EXPECT_THAT(message_of([&] { export_onnx(generator, file(), {.with_features = true}); }),
              HasSubstr("its input is a latent vector"));
  EXPECT_THAT(message_of([&] { export_onnx(bundle, folder_.path() / "nowhere" / "model.onnx"); }),
              HasSubstr("nowhere"));
  EXPECT_FALSE(std::filesystem::exists(file()));
}

TEST_F(OnnxTest, ForeignAndDamagedFilesAreRefusedWithoutHarm) {
  export_onnx(write({.blocks = {{2, {3, 3, 3}}}, .hidden = 4}), file());
  const std::string bytes = read_all(file());
  using namespace std::string_literals;
  const auto said = [](const std::string& text) { return message_of([&] { onnx::decode(text, "x.onnx"); }); };
  EXPECT_THAT(said(""), HasSubstr("x.onnx is no ONNX file of ours: '' wrote it"));
  EXPECT_THAT(said("\x0A"), HasSubstr("it ends within a number"));
  EXPECT_THAT(said("\x0D\x01"), HasSubstr("it ends within a number"));
  EXPECT_THAT(said("\x0A\x7F"), HasSubstr("longer than the file"));
  EXPECT_THAT(said("\x0B"), HasSubstr("of no known kind"));
  EXPECT_THAT(said("\x02\x00"s), HasSubstr("a field has no number"));
  EXPECT_THAT(said(std::string(11, '\xFF')), HasSubstr("a number has too many bytes"));
  EXPECT_THAT(said("\x10\x01"), HasSubstr("a text is none"));
  const auto graph_of = [](const char* field, const std::string& text) {
    const std::string inner = field + std::string(1, static_cast<char>(text.size())) + text;
    return "\x3A" + std::string(1, static_cast<char>(inner.size())) + inner;
  };
  // A constant [2] of 4 bytes, one of [-1] values, of doubles, and one whose values are not raw.
  EXPECT_THAT(said(graph_of("\x2A", "\x08\x02\x10\x01\x4A\x04\x01\x02\x03\x04")),
              HasSubstr("that its shape says"));
  EXPECT_THAT(said(graph_of("\x2A", "\x08"s + std::string(9, '\xFF') + "\x01\x10\x01")),
              HasSubstr("that its shape says"));
  EXPECT_THAT(said(graph_of("\x2A", "\x10\x0B")), HasSubstr("is of the type 11"));
  EXPECT_THAT(said(graph_of("\x2A", "\x25\x01\x01\x01\x01")), HasSubstr("not stored as raw bytes"));
  EXPECT_THAT(said(graph_of("\x0A", "\x2A\x06\x0A\x01\x61\xA0\x01\x03")),
              HasSubstr("the attribute 'a' is of a kind"));
  EXPECT_THAT(said(graph_of("\x0A", "\x22\x03M/l")), HasSubstr("'M/l' is no operator"));
  std::string foreign = bytes;
  foreign.replace(foreign.find("bunchtrain"), 10, "pytorch   ");
  EXPECT_THAT(said(foreign), HasSubstr("'pytorch   ' wrote it"));
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 2000; ++trial) {
    std::string damaged = bytes.substr(0, trial % 2 == 0 ? bytes.size() : random() % bytes.size());
    for (int flip = 0; flip < 1 + trial % 4 && !damaged.empty(); ++flip)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    message_of([&] { run_any(onnx::decode(damaged, "damaged")); });
  }
}

TEST_F(OnnxTest, TheEvaluatorNamesWhatDoesNotFit) {
  const onnx::Array two{.shape = {2}, .values = {1, 2}}, three{.shape = {3}, .values = {1, 2, 3}};
  const auto said = [&](const onnx::Node& node) {
    return message_of([&] {
      onnx::evaluate({.name = "one",
                      .opset = 17,
                      .inputs = {},
                      .outputs = {{"y", onnx::Type::float32, {}}},
                      .constants = {},
                      .nodes = {node}},
                     {{"two", two}, {"three", three}});
    });
  };
  EXPECT_EQ(said({"Relu", {"two"}, {"y"}}), "no error");
  EXPECT_THAT(said({"Loop", {"two"}, {"y"}}), HasSubstr("Loop is an operator that we do not know"));
  EXPECT_THAT(said({"Relu", {"one"}, {"y"}}), HasSubstr("reads 'one', which nothing gives"));
  EXPECT_THAT(said({"Add", {"two", "three"}, {"y"}}), HasSubstr("Add does not take [2] [3]"));
  EXPECT_THAT(said({"MatMul", {"two", "three"}, {"y"}}), HasSubstr("MatMul does not take"));
  EXPECT_THAT(said({"Relu", {"two"}, {"z"}}), HasSubstr("nothing gives the output 'y'"));
}

}  // namespace
}  // namespace bunchtrain::infer::test
