// SPDX-License-Identifier: Apache-2.0
/// Exported files in ONNX Runtime: built where there is one.
#include "onnx/runtime.hpp"

#include <ATen/ops/randn.h>
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/infer/onnx_export.hpp"
#include "bundles.hpp"
#include "lite/made_up_jets.hpp"
#include "onnx_jets.hpp"

namespace bunchtrain::infer::test {
namespace {

using models::ParticleNetOptions;

std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class OnnxRuntimeTest : public ::testing::Test {
 protected:
  const BundleFolder folder_;
};

void expect_equal_scores(const OnnxJets& jets, const Predictor& predictor, const onnx::Runtime& runtime) {
  auto expected = jets.plain(predictor);
  std::map<std::string, std::vector<float>> found;
  std::vector<onnx::RuntimeOutput> outputs;
  for (const auto& [name, values] : expected) found[name].resize(values.size());
  for (auto& [name, values] : found) outputs.push_back({name.c_str(), values});
  const onnx::RuntimeInput inputs[] = {
      {"points", onnx::Type::float32, jets.points.data(), {jets.count, jets.slots, jets.dims}},
      {"features", onnx::Type::float32, jets.features.data(), {jets.count, jets.slots, jets.columns}},
      {"mask", onnx::Type::boolean, jets.mask.data(), {jets.count, jets.slots}}};
  runtime.run(inputs, outputs);
  for (const auto& [name, values] : expected)
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(found.at(name)[i], values[i], 1e-5 * std::max(1.0F, std::abs(values[i])))
          << name << " " << i;
}

TEST_F(OnnxRuntimeTest, FilesScoreAsTheirNetworks) {
  auto keras = ParticleNetOptions::lite();
  keras.padding = models::PaddingRule::keras;
  keras.fusion = true;
  auto heads = ParticleNetOptions::lite();
  heads.heads = {{.name = "mass", .mean = 100, .width = 20, .own_width = true}, {.name = "wide"}};
  std::mt19937_64 random(11);
  for (const ParticleNetOptions& options : {ParticleNetOptions{}, ParticleNetOptions::lite(), keras, heads}) {
    features::Card card = features::load_card("top_tagging");
    for (const models::RegressionHead& head : options.heads)
      card.targets.push_back({.name = head.name, .expression = "jet.ttv"});
    const auto bundle = folder_.write(make_bundle(card, options));
    const Predictor predictor = Predictor::load(bundle);
    std::int64_t k = 0;
    for (const auto& block : options.blocks) k = std::max(k, block.k);
    for (const std::int64_t opset : {13, 17}) {
      export_onnx(bundle, folder_.path() / "model.onnx", {.opset = opset});
      const onnx::Runtime runtime(BUNCHTRAIN_ONNXRUNTIME, read_all(folder_.path() / "model.onnx"));
      for (int trial = 0; trial < 6; ++trial)
        expect_equal_scores(random_jets(k + 1, random), predictor, runtime);
    }
  }
}

TEST_F(OnnxRuntimeTest, RawColumnsBecomeFeaturesInTheGraph) {
  for (const char* name : {"top_tagging", "quark_gluon"}) {
    features::Card card = features::load_card(name);
    card.length = 40;
    const auto bundle = folder_.write(make_bundle(card, ParticleNetOptions::lite()));
    const Predictor predictor = Predictor::load(bundle);
    const onnx::Runtime runtime(BUNCHTRAIN_ONNXRUNTIME, make_onnx(bundle, {.with_features = true}).bytes);
    const auto made = detail::make_up_jets(predictor.inputs(), {0, 3, 12, 40}, 9);
    const RawJets jets = made->jets();
    std::vector<double> expected(8);
    Scratch scratch = predictor.make_scratch();
    predictor.run(jets, expected, scratch);

    std::vector<std::vector<float>> padded;
    for (const RawColumn& column : jets.columns) {
      std::vector<float>& values = padded.emplace_back(4 * 40, 0.0F);
      for (std::size_t jet = 0; jet < 4; ++jet)
        std::copy(column.values.begin() + jets.row_splits[jet],
                  column.values.begin() + jets.row_splits[jet + 1],
                  values.begin() + static_cast<std::ptrdiff_t>(40 * jet));
    }
    std::vector<onnx::RuntimeInput> inputs;
    for (std::size_t i = 0; i < padded.size(); ++i)
      inputs.push_back({predictor.inputs()[i].name.c_str(), onnx::Type::float32, padded[i].data(), {4, 40}});
    std::vector<float> found(8);
    const onnx::RuntimeOutput outputs[] = {{"probabilities", found}};
    runtime.run(inputs, outputs);
    for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(found[i], expected[i], 2e-5) << name << " " << i;
  }
}

TEST_F(OnnxRuntimeTest, GeneratorsMakeTheSameShowers) {
  for (const char* variant : {"fixed", "angle"}) {
    const auto bundle = folder_.write(make_generator_bundle(variant));
    const Predictor predictor = Predictor::load(bundle);
    for (const std::int64_t opset : {13, 17}) {
      const onnx::Runtime runtime(BUNCHTRAIN_ONNXRUNTIME, make_onnx(bundle, {.opset = opset}).bytes);
      const at::Tensor latent = at::randn({3, variant == std::string("fixed") ? 200 : 256});
      const at::Tensor expected = predictor.run({{"latent", latent}})["image"].contiguous();
      std::vector<float> found(static_cast<std::size_t>(expected.numel()));
      const onnx::RuntimeInput inputs[] = {
          {"latent", onnx::Type::float32, latent.const_data_ptr(), {3, latent.size(1)}}};
      const onnx::RuntimeOutput outputs[] = {{"image", found}};
      runtime.run(inputs, outputs);
      const float* values = expected.const_data_ptr<float>();
      const float unit = *std::max_element(values, values + expected.numel());
      for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], values[i], 1e-5 * unit) << variant;
    }
  }
}

TEST_F(OnnxRuntimeTest, TheProfileOfSofieRunsHereToo) {
  features::Card card = features::load_card("top_tagging");
  const auto bundle = folder_.write(make_bundle(card, ParticleNetOptions::lite()));
  const Predictor predictor = Predictor::load(bundle);
  const onnx::Runtime runtime(BUNCHTRAIN_ONNXRUNTIME,
                              make_onnx(bundle, {.profile = OnnxProfile::sofie}).bytes);
  std::mt19937_64 random(12);
  for (int trial = 0; trial < 4; ++trial) expect_equal_scores(random_jets(8, random), predictor, runtime);
}

TEST_F(OnnxRuntimeTest, WeightsInASecondFileAreFound) {
  features::Card card = features::load_card("top_tagging");
  const auto bundle = folder_.write(make_bundle(card, ParticleNetOptions::lite()));
  const Predictor predictor = Predictor::load(bundle);
  export_onnx(bundle, folder_.path() / "large.onnx", {.most_bytes = 1000});
  const auto runtime = onnx::Runtime::open(BUNCHTRAIN_ONNXRUNTIME, folder_.path() / "large.onnx");
  std::mt19937_64 random(13);
  expect_equal_scores(random_jets(8, random), predictor, runtime);
}

TEST_F(OnnxRuntimeTest, WhatItCannotRunIsSaid) {
  const auto message_of = [](const std::filesystem::path& library, const std::string& model) -> std::string {
    try {
      const onnx::Runtime runtime(library, model);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message_of("/nowhere/libonnxruntime.so", ""), ::testing::HasSubstr("a libonnxruntime.so"));
  EXPECT_THAT(message_of("libm.so.6", ""), ::testing::HasSubstr("it has no OrtGetApiBase"));
  EXPECT_THAT(message_of(BUNCHTRAIN_ONNXRUNTIME, "nonsense"), ::testing::HasSubstr("ONNX Runtime "));
}

}  // namespace
}  // namespace bunchtrain::infer::test
