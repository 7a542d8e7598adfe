// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/layout_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::parallel {
namespace {

using testing::HasSubstr;

/// Units alike: 1 ms forward and for each gradient, 1 MB of activations, 100 MB of parameters.
UnitProfile alike(int units) {
  UnitProfile profile{.model = "alike", .machine = "paper"};
  for (int i = 0; i < units; ++i)
    profile.units.push_back(
        {.name = "unit" + std::to_string(i),
         .costs = {.forward = 1e-3, .input_gradient = 1e-3, .weight_gradient = 1e-3, .activation_bytes = 1e6},
         .parameter_bytes = 1e8,
         .output_bytes = 1e5});
  return profile;
}

std::string refusal(const LayoutQuestion& question) {
  try {
    (void)plan_layouts(question);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(LayoutPlanTest, OneRankComputesEverythingItself) {
  const auto layouts = plan_layouts({.profile = alike(8), .ranks = 1, .batch = 4});
  ASSERT_EQ(layouts.size(), 1U);
  EXPECT_NEAR(layouts[0].step_seconds, 4 * 8 * 3e-3, 1e-12);
  EXPECT_NEAR(layouts[0].rank_bytes, 8 * 4e8 + 4 * 8e6, 1);
  EXPECT_EQ(layouts[0].sent_bytes, 0);
}

TEST(LayoutPlanTest, ReplicasSumTheirGradients) {
  const auto layouts = plan_layouts({.profile = alike(1), .ranks = 4, .batch = 64, .bandwidth = 1e9});
  ASSERT_EQ(layouts.size(), 1U) << "one unit cannot be cut";
  EXPECT_NEAR(layouts[0].sent_bytes, 2 * 1e8 * 3 / 4, 1);
  EXPECT_NEAR(layouts[0].step_seconds, 16 * 3e-3 + 0.15, 1e-9);
}

/// The published bubble of 1F1B, (p - 1)(F + B), where nothing costs to send.
TEST(LayoutPlanTest, StagesIdleAsTheoryHasIt) {
  const auto layouts = plan_layouts({.profile = alike(4), .ranks = 4, .batch = 16, .bandwidth = 1e18});
  const auto found = std::ranges::find_if(layouts, [](const Layout& layout) {
    return layout.pipeline == 4 && layout.kind == PipelineKind::one_f_one_b && layout.microbatches == 16;
  });
  ASSERT_NE(found, layouts.end());
  EXPECT_NEAR(found->step_seconds, (16 + 3) * 3e-3, 1e-9);
  EXPECT_NEAR(found->idle_share(), 3.0 / 19, 1e-9);
  EXPECT_TRUE(std::ranges::is_sorted(layouts, {}, &Layout::step_seconds));
}

TEST(LayoutPlanTest, MemoryDecidesWhatFits) {
  // Eight units with their state are 3.2 GB: a rank of 2 GB needs two stages at least.
  const auto layouts = plan_layouts({.profile = alike(8), .ranks = 4, .batch = 16, .memory_bytes = 2e9});
  ASSERT_FALSE(layouts.empty());
  for (const Layout& layout : layouts) {
    EXPECT_GE(layout.pipeline, 2);
    EXPECT_LE(layout.rank_bytes, 2e9);
  }
  EXPECT_THAT(refusal({.profile = alike(8), .ranks = 4, .batch = 16, .memory_bytes = 1e8}),
              HasSubstr("the least that a layout on 4 ranks needs"));
}

TEST(LayoutPlanTest, AProfileComesBackAsItWas) {
  UnitProfile profile = alike(3);
  profile.skips = {{.from = 0, .to = 2, .bytes = 5}};
  const UnitProfile back = parse_unit_profile(to_json(profile), "file");
  EXPECT_EQ(to_json(back), to_json(profile));
  EXPECT_EQ(back.skips.front().to, 2);
  try {
    parse_unit_profile(R"({"model": "x"})", "mine.json");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("mine.json is no profile of units"));
  }
}

TEST(LayoutPlanTest, RefusesQuestionsWithoutAnAnswer) {
  EXPECT_THAT(refusal({.ranks = 2}), HasSubstr("a network of units"));
  EXPECT_THAT(refusal({.profile = alike(2), .ranks = 0}), HasSubstr("at least 1"));
  EXPECT_THAT(refusal({.profile = alike(2), .ranks = 8, .batch = 4}), HasSubstr("a sample per rank"));
  EXPECT_THAT(refusal({.profile = alike(2), .bandwidth = 0}), HasSubstr("bytes per second"));
}

}  // namespace
}  // namespace bunchtrain::parallel
