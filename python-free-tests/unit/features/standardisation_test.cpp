// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/standardisation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features {
namespace {

Card automatic_card() {
  return parse_card(R"toml(card = 1
[[read.part]]
from = "particles"
columns = ["x", "y"]
[particles]
mask = "part.y > 0"
length = 5
nan = 0.0
[inputs]
features = [["part.x", "auto"], "part.y", ["part.x * 0 + 3", "auto"]]
)toml",
                    "automatic");
}

/// Normal x with mean 1000 and width 2: where the naive formula loses digits.
RawColumns make_block(std::int64_t rows, std::uint64_t seed) {
  RawColumns raw;
  raw.rows = rows;
  raw.slots = 5;
  raw.file = "block.h5";
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(1000, 2);
  for (std::int64_t i = 0; i < rows * 5; ++i) {
    const bool real = i % 5 < 3;
    raw.particle["x"].push_back(real ? normal(random) : std::numeric_limits<float>::quiet_NaN());
    raw.particle["y"].push_back(real ? static_cast<float>(1 + i % 5) : 0.0f);
  }
  return raw;
}

FeatureBlock evaluate(const Card& card, const RawColumns& raw) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < raw.rows; ++row) rows.push_back(row);
  return FeaturePipeline(card).evaluate(raw, rows);
}

TEST(StandardisationTest, ConstantsAreKnownByTheirRawValue) {
  Card card = automatic_card();
  const RawColumns raw = make_block(50, 1);
  const auto constants = [&raw](const Card& of) {
    StandardisationFit fit(of);
    fit.add(evaluate(of, raw));
    std::vector<std::optional<double>> values;
    for (const auto& column : fit.summaries()) values.push_back(column.constant);
    return values;
  };
  EXPECT_EQ(constants(card), (std::vector<std::optional<double>>{std::nullopt, std::nullopt, 3.0}));
  StandardisationFit fit(card);
  fit.add(evaluate(card, raw));
  freeze(card, fit.summaries());
  EXPECT_EQ(constants(card)[2], 3.0) << "not what standardisation makes of it";
}

TEST(StandardisationTest, TheMeanMagnitudeBecomesTheUnitOfWeights) {
  Card card = automatic_card();
  freeze_weight_factor(card, 5);
  EXPECT_FALSE(card.weight_factor) << "a card without weights has no factor";
  card.sample_weight = "part.x";
  freeze_weight_factor(card, 5);
  EXPECT_EQ(card.weight_factor, 0.2);
  freeze_weight_factor(card, 7);
  EXPECT_EQ(card.weight_factor, 0.2) << "fitted once";
  for (const double mean : {0.0, 1e-320, std::numeric_limits<double>::infinity()}) {
    card.weight_factor.reset();
    EXPECT_THROW(freeze_weight_factor(card, mean), DataError) << mean;
  }
  freeze_weight_factor(card, 1 + 1e-15);
  EXPECT_EQ(card.weight_factor, 1) << "balanced classes stay as they are to the bit";
}

TEST(StandardisationTest, MeanAndWidthOverRealParticles) {
  const Card card = automatic_card();
  const RawColumns raw = make_block(500, 1);
  StandardisationFit fit(card);
  fit.add(evaluate(card, raw));
  double sum = 0, squares = 0;
  for (const float x : raw.particle.at("x")) {
    if (!std::isnan(x)) sum += x;
  }
  const double mean = sum / 1500;
  for (const float x : raw.particle.at("x")) {
    if (!std::isnan(x)) squares += (x - mean) * (x - mean);
  }
  const auto summaries = fit.summaries();
  ASSERT_EQ(summaries.size(), 3u);
  EXPECT_EQ(summaries[0].count, 1500);
  EXPECT_NEAR(summaries[0].mean, mean, 1e-9 * mean);
  EXPECT_NEAR(summaries[0].width, std::sqrt(squares / 1500), 1e-6);
  EXPECT_EQ(summaries[1].minimum, 1);
  EXPECT_EQ(summaries[1].maximum, 3);
  EXPECT_EQ(summaries[0].tensor, "features");
  EXPECT_EQ(summaries[0].expression, "part.x");
}

TEST(StandardisationTest, MergingRanksEqualsOneRank) {
  const Card card = automatic_card();
  StandardisationFit whole(card), first(card), second(card), none(card);
  for (const std::uint64_t seed : {1, 2, 3}) whole.add(evaluate(card, make_block(100, seed)));
  first.add(evaluate(card, make_block(100, 1)));
  second.add(evaluate(card, make_block(100, 2)));
  second.add(evaluate(card, make_block(100, 3)));
  first.merge(second.pack());
  first.merge(none);  // a rank without rows
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(first.summaries()[i].count, whole.summaries()[i].count);
    EXPECT_NEAR(first.summaries()[i].mean, whole.summaries()[i].mean, 1e-10);
    EXPECT_NEAR(first.summaries()[i].width, whole.summaries()[i].width, 1e-10);
    EXPECT_EQ(first.summaries()[i].minimum, whole.summaries()[i].minimum);
  }
  EXPECT_THROW(first.merge(std::vector<double>{1, 2}), ConfigError);
}

TEST(StandardisationTest, CountsWhatTheNanPolicyReplaced) {
  const Card card = automatic_card();
  RawColumns raw = make_block(10, 1);
  raw.particle["x"][0] = std::numeric_limits<float>::quiet_NaN();
  StandardisationFit fit(card);
  fit.add(evaluate(card, raw));
  EXPECT_EQ(fit.summaries()[0].nan_count, 1);
  EXPECT_EQ(fit.summaries()[1].nan_count, 0);
}

TEST(StandardisationTest, FrozenCardsStandardise) {
  Card card = automatic_card();
  const RawColumns raw = make_block(500, 4);
  EXPECT_TRUE(needs_fit(card));
  StandardisationFit fit(card);
  fit.add(evaluate(card, raw));
  freeze(card, fit.summaries());
  EXPECT_FALSE(needs_fit(card));
  EXPECT_EQ(card.inputs[0].second[2].multiply, 1);  // width 0
  EXPECT_EQ(parse_card(to_toml(card), "again"), card);

  StandardisationFit after(card);
  after.add(evaluate(card, raw));
  EXPECT_NEAR(after.summaries()[0].mean, 0, 1e-4);
  EXPECT_NEAR(after.summaries()[0].width, 1, 1e-3);
  EXPECT_NEAR(after.summaries()[1].mean, 2, 1e-9);  // not "auto": left alone
}

TEST(StandardisationTest, RefusesSummariesOfAnotherCard) {
  Card card = automatic_card();
  EXPECT_THROW(freeze(card, {}), ConfigError);
  auto summaries = StandardisationFit(card).summaries();
  EXPECT_THROW(freeze(card, summaries), ConfigError);  // nothing seen
  summaries[0].expression = "part.z";
  EXPECT_THROW(freeze(card, summaries), ConfigError);
}

TEST(StandardisationTest, BalancedWeightsHaveMeanOne) {
  Card card = load_card("cms_btag");
  const std::vector<std::int64_t> jets{900, 100};
  freeze_class_weights(card, jets);
  EXPECT_FALSE(card.balanced_classes);
  ASSERT_EQ(card.class_weights.size(), 2u);
  EXPECT_DOUBLE_EQ(card.class_weights[0] * 900 + card.class_weights[1] * 100, 1000);
  EXPECT_DOUBLE_EQ(card.class_weights[0] * 900, card.class_weights[1] * 100);
  Card empty = load_card("cms_btag");
  EXPECT_THROW(freeze_class_weights(empty, std::vector<std::int64_t>{5, 0}), ConfigError);
  EXPECT_THROW(freeze_class_weights(empty, std::vector<std::int64_t>{5}), ConfigError);
  Card plain = load_card("top_tagging");
  freeze_class_weights(plain, jets);
  EXPECT_TRUE(plain.class_weights.empty());
}

}  // namespace
}  // namespace bunchtrain::features
