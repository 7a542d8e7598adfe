// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/registry.hpp"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <torch/nn/modules/linear.h>
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/nn/model.hpp"

namespace bunchtrain::models {
namespace {

TEST(RegistryTest, CreatesEveryNameItLists) {
  for (const char* name : {"particlenet", "particlenet-lite"})
    EXPECT_GT(count_parameters(*create(name, {})->module()), 0) << name;
  EXPECT_EQ(count_parameters(*create("particlenet", {.num_features = 17, .num_classes = 10})->module()),
            370'156);
  EXPECT_EQ(count_parameters(*create("particlenet-lite", {.fusion = true})->module()), 47'152);
}

TEST(RegistryTest, UnknownNameListsTheKnown) {
  try {
    create("particlenot", {});
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr("particlenot"), testing::HasSubstr("particlenet-lite")));
  }
}

TEST(RegistryTest, DescriptionMakesTheSameModel) {
  const ModelOptions options{.num_features = 17,
                             .num_classes = 10,
                             .dropout = 0.3,
                             .fusion = true,
                             .recompute = true,
                             .real_rows = true,
                             .seed = 42};
  const std::string text = describe("particlenet-lite", options);
  EXPECT_EQ(
      text,
      "particlenet-lite num_features=17 num_classes=10 dropout=0.3 fusion=1 recompute=1 real_rows=1 seed=42");
  const auto first = create("particlenet-lite", options), second = create_from(text);
  const auto weights = first->module()->named_parameters();
  for (const auto& item : second->module()->named_parameters())
    EXPECT_TRUE(at::equal(item.value(), weights[item.key()])) << item.key();
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
    EXPECT_EQ(nn::describe(*again->module()), text);
    const auto weights = net->named_parameters();
    const auto built = again->module()->named_parameters();
    ASSERT_EQ(built.size(), weights.size()) << text;
    for (const auto& item : built) EXPECT_TRUE(at::equal(item.value(), weights[item.key()])) << item.key();
  }
  EXPECT_EQ(nn::describe(*ParticleNet(ParticleNetOptions{})),
            describe("particlenet", {.num_features = 7, .num_classes = 2}));
}

struct SumImpl : torch::nn::Module {
  SumImpl(std::int64_t features, std::int64_t classes)
      : head(register_module("head", torch::nn::Linear(features, classes))) {}
  at::Tensor forward(const at::Tensor&, const at::Tensor& features, const at::Tensor& mask) {
    return head((features * mask.unsqueeze(-1)).sum(1));
  }
  torch::nn::Linear head;
};
TORCH_MODULE(Sum);

TEST(RegistryTest, AProgramAddsItsOwnNetworks) {
  std::string width;
  register_model("sum", [&](const ModelOptions& options) {
    width = options.more.contains("width") ? options.more.at("width") : "";
    return make_cloud_model(Sum(options.num_features, options.num_classes));
  });
  EXPECT_THAT(names(), testing::Contains("sum"));
  const std::string text = describe("sum", {.num_features = 3, .num_classes = 4, .more = {{"width", "8"}}});
  EXPECT_EQ(count_parameters(*create_from(text)->module()), 16);
  EXPECT_EQ(width, "8");
  EXPECT_EQ(nn::describe(*create_from(text)->module()), "");
  EXPECT_THROW(register_model("sum", [](const ModelOptions&) { return nullptr; }), ConfigError);
  EXPECT_THROW(register_model("two words", [](const ModelOptions&) { return nullptr; }), ConfigError);
  EXPECT_THROW(register_model("none", {}), ConfigError);
}

TEST(RegistryTest, DescriptionsAreChecked) {
  for (const char* text : {"", "particlenet num_features", "particlenet num_features=x",
                           "particlenet fusion=2", "particlenet depth=3", "particlenet num_features=0",
                           "particlenet blocks=3", "particlenet hidden=x", "particlenet padding=none"}) {
    EXPECT_THROW(create_from(text), ConfigError) << text;
  }
}

/// They could not be read back.
TEST(RegistryTest, ValuesWithBlanksAreNotDescribed) {
  for (const auto& [field, value] :
       std::map<std::string, std::string>{{"two words", "1"}, {"width", "8 16"}}) {
    try {
      describe("particlenet", {.more = {{field, value}}});
      ADD_FAILURE() << field << " = " << value;
    } catch (const ConfigError& error) {
      for (const std::string& part : {field, value, std::string("without blanks")})
        EXPECT_THAT(error.what(), testing::HasSubstr(part));
    }
  }
}

}  // namespace
}  // namespace bunchtrain::models
