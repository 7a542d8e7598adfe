// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/registry.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/3dgan/generator.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/nn/model.hpp"

namespace bunchtrain::models {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

void expect_same_weights(const torch::nn::Module& first, const torch::nn::Module& second) {
  const auto weights = first.named_parameters();
  const auto others = second.named_parameters();
  ASSERT_EQ(others.size(), weights.size());
  for (const auto& item : others) EXPECT_TRUE(at::equal(item.value(), weights[item.key()])) << item.key();
}

TEST(RegistryTest, CreatesEveryNameItLists) {
  for (const char* name : {"particlenet", "particlenet-lite", "3dgan-generator"})
    EXPECT_GT(count_parameters(*create(ModelDescription(name))), 0) << name;
  EXPECT_EQ(count_parameters(
                *create(ModelDescription("particlenet").set("num_features", 17).set("num_classes", 10))),
            370'156);
  EXPECT_EQ(count_parameters(*create(ModelDescription("particlenet-lite").set("fusion", true))), 47'152);
}

TEST(RegistryTest, UnknownNameListsTheKnown) {
  EXPECT_THAT(message_of([] { create(ModelDescription("particlenot")); }),
              AllOf(HasSubstr("particlenot"), HasSubstr("particlenet-lite"),
                    HasSubstr("is 'particlenet' meant?"), HasSubstr("register_model")));
}

TEST(RegistryTest, DescriptionMakesTheSameModel) {
  ParticleNetOptions options = ParticleNetOptions::lite(17, 10);
  options.dropout = 0.3;
  options.fusion = true;
  options.recompute = true;
  options.batch_norm_rows = BatchNormRows::real;
  options.seed = 18446744073709551615U;
  const ParticleNet first(options);
  EXPECT_EQ(
      first->description(),
      R"({"model": "particlenet-lite", "num_features": 17, "num_classes": 10, "blocks": )"
      R"([{"k":7,"channels":[32,32,32]},{"k":7,"channels":[64,64,64]}], "hidden": 128, "dropout": 0.3, )"
      R"("fusion": true, "padding": "weaver", "batch_norm_rows": "real", "recompute": true, )"
      R"("seed": 18446744073709551615})");
  const auto second = create_from(first->description());
  EXPECT_EQ(nn::describe(*second), first->description());
  expect_same_weights(*first, *second);
}

/// The line that version 0.1 wrote into snapshots.
TEST(RegistryTest, DescriptionsOfVersion01StayReadable) {
  const auto lite = create_from(
      "particlenet-lite num_features=17 num_classes=10 dropout=0.3 fusion=1 recompute=1 real_rows=1 seed=42");
  ParticleNetOptions options = ParticleNetOptions::lite(17, 10);
  options.dropout = 0.3;
  options.fusion = true;
  options.recompute = true;
  options.batch_norm_rows = BatchNormRows::real;
  options.seed = 42;
  EXPECT_EQ(nn::describe(*lite), ParticleNet(options)->description());
  expect_same_weights(*lite, *ParticleNet(options));

  const auto odd = create_from(
      "particlenet num_features=5 num_classes=3 dropout=0.1 fusion=0 recompute=0 real_rows=0 seed=9 "
      "blocks=4:8,16,24;3:32,32,32 hidden=40 padding=keras");
  EXPECT_EQ(nn::describe(*odd),
            ParticleNet(ParticleNetOptions{.num_features = 5,
                                           .num_classes = 3,
                                           .blocks = {{4, {8, 16, 24}}, {3, {32, 32, 32}}},
                                           .hidden = 40,
                                           .padding = PaddingRule::keras,
                                           .seed = 9})
                ->description());
}

TEST(RegistryTest, ParticleNetsOfAnyOptionsDescribeThemselves) {
  ParticleNetOptions odd{.num_features = 5,
                         .num_classes = 3,
                         .blocks = {{4, {8, 16, 24}}, {3, {32, 32, 32}}},
                         .hidden = 40,
                         .padding = PaddingRule::keras,
                         .batch_norm_rows = BatchNormRows::real,
                         .seed = 9};
  ParticleNetOptions wide = ParticleNetOptions::lite(4, 2);
  wide.hidden = 96;
  for (const auto& options : {ParticleNetOptions{}, ParticleNetOptions::lite(17, 4), odd, wide}) {
    const ParticleNet net(options);
    const std::string text = nn::describe(*net);
    const auto again = create_from(text);
    EXPECT_EQ(nn::describe(*again), text);
    expect_same_weights(*net, *again);
  }
}

TEST(RegistryTest, AGeneratorOf3dganIsAModel) {
  const ShowerGenerator generator(
      ShowerGeneratorOptions{.variant = ShowerVariant::variable_angle, .seed = 3});
  EXPECT_EQ(generator->description(), R"({"model": "3dgan-generator", "variant": "angle", "seed": 3})");
  const auto again = create_from(generator->description());
  expect_same_weights(*generator, *again);
  EXPECT_THAT(message_of([] { create_from(R"({"model": "3dgan-generator", "variant": "round"})"); }),
              AllOf(HasSubstr("variant"), HasSubstr("\"round\""), HasSubstr("fixed, angle")));

  const auto fixed = create_from("3dgan-generator");
  fixed->eval();
  nn::Model& model = *nn::as_model(*fixed);
  EXPECT_THAT(model.input_names(), testing::ElementsAre("latent"));
  const at::Tensor image = model.forward({{"latent", at::rand({2, 200})}})["image"];
  EXPECT_EQ(image.sizes(), at::IntArrayRef({2, 25, 25, 25}));
}

struct SumImpl : torch::nn::Module, nn::Model {
  explicit SumImpl(const ModelDescription& description)
      : head(register_module("head", torch::nn::Linear(description.integer("num_features", 7),
                                                       description.integer("num_classes", 2)))),
        width(description.integer("width", 0)) {}
  std::vector<std::string> input_names() const override { return {"features", "mask"}; }
  NamedTensors forward(const NamedTensors& jets) override {
    return {{"logits", head((jets["features"] * jets["mask"].unsqueeze(-1)).sum(1))}};
  }
  std::string description() const override { return ModelDescription("sum").set("width", width).to_json(); }
  torch::nn::Linear head;
  std::int64_t width;
};

TEST(RegistryTest, AProgramAddsItsOwnNetworks) {
  register_model("sum", [](const ModelDescription& d) { return std::make_shared<SumImpl>(d); });
  EXPECT_THAT(names(), testing::Contains("sum"));
  const auto sum =
      create(ModelDescription("sum").set("num_features", 3).set("num_classes", 4).set("width", 8));
  EXPECT_EQ(count_parameters(*sum), 16);
  EXPECT_EQ(nn::describe(*sum), R"({"model": "sum", "width": 8})");
  EXPECT_THROW(register_model("sum", [](const ModelDescription&) { return nullptr; }), ConfigError);
  EXPECT_THROW(register_model("two words", [](const ModelDescription&) { return nullptr; }), ConfigError);
  EXPECT_THROW(register_model("none", {}), ConfigError);
}

TEST(RegistryTest, AFactoryMakesAModel) {
  register_model("plain", [](const ModelDescription&) { return torch::nn::Linear(3, 2).ptr(); });
  register_model("nothing", [](const ModelDescription&) { return nullptr; });
  for (const char* name : {"plain", "nothing"})
    EXPECT_THAT(message_of([&] { create(ModelDescription(name)); }),
                AllOf(HasSubstr(name), HasSubstr("derive the module from bunchtrain::nn::Model")));
}

TEST(RegistryTest, ValuesThatAFieldDoesNotTakeAreRefused) {
  EXPECT_THAT(message_of([] { create_from("particlenet-lite num_features=7 num_classes=2 blocks=7:32,32"); }),
              HasSubstr("K:WIDTH,WIDTH,WIDTH"));
  const auto padding = ModelDescription("mine").set("padding", "round");
  EXPECT_THAT(message_of([&] {
                padding.text("padding", "weaver", {"weaver", "keras"});
              }),
              AllOf(HasSubstr("padding"), HasSubstr("round"), HasSubstr("weaver, keras")));
}

TEST(RegistryTest, FieldsThatAModelDoesNotHaveAreNamed) {
  EXPECT_THAT(message_of([] { create_from(R"({"model": "particlenet", "num_clases": 3})"); }),
              AllOf(HasSubstr("num_clases"), HasSubstr("is 'num_classes' meant?"), HasSubstr("dropout")));
  EXPECT_THAT(
      message_of([] { create_from(R"({"model": "particlenet", "blocks": [{"k": 3, "width": 4}]})"); }),
      HasSubstr("the widths of three layers"));
  EXPECT_THAT(
      message_of([] {
        create_from(R"({"model": "particlenet", "blocks": [{"k": 3, "channels": [8, 8, 8], "widht": 4}]})");
      }),
      AllOf(HasSubstr("particlenet.blocks[0]"), HasSubstr("widht")));
  EXPECT_EQ(message_of([] { create(ModelDescription("particlenet").set("depth", 3).may_ignore("depth")); }),
            "accepted");
}

TEST(RegistryTest, DescriptionsAreChecked) {
  for (const char* text :
       {"", "particlenet num_features", "particlenet num_features=x", "particlenet fusion=2",
        "particlenet depth=3", "particlenet num_features=0", "particlenet blocks=3", "particlenet hidden=x",
        "particlenet padding=none", R"({"model": "particlenet", "padding": 3})",
        R"({"model": "particlenet", "seed": -1})", R"({"model": "particlenet", "blocks": []})",
        R"({"model": "particlenet", "blocks": [3]})", R"({"model": "particlenet", "dropout": "much"})"}) {
    EXPECT_THROW(create_from(text), ConfigError) << text;
  }
}

}  // namespace
}  // namespace bunchtrain::models
