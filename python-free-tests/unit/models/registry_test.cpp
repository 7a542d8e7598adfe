// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/registry.hpp"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::models {
namespace {

TEST(RegistryTest, CreatesEveryNameItLists) {
  for (const std::string_view name : names())
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

TEST(RegistryTest, DescriptionsAreChecked) {
  for (const char* text : {"", "particlenet num_features", "particlenet num_features=x",
                           "particlenet fusion=2", "particlenet depth=3", "particlenet num_features=0"}) {
    EXPECT_THROW(create_from(text), ConfigError) << text;
  }
}

}  // namespace
}  // namespace bunchtrain::models
