// SPDX-License-Identifier: Apache-2.0
/// NaN and infinity in raw columns: found before a transform hides them, named, and left
/// out as the message says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"

namespace bunchtrain::features {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kFloatNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kFloatInfinity = std::numeric_limits<float>::infinity();

constexpr std::int64_t kRows = 4, kSlots = 3;

/// Two real particles per jet, the third slot is padding.
RawColumns sound_block() {
  RawColumns raw;
  raw.rows = kRows;
  raw.slots = kSlots;
  raw.first_row = 100;
  raw.file = "odd.h5";
  for (const char* name : {"pt", "mass", "kind", "weight", "event", "extra"})
    raw.jet[name].assign(kRows, 1.0);
  for (const char* name : {"e", "x", "y", "valid"}) raw.particle[name].assign(kRows * kSlots, 1.0f);
  for (std::size_t row = 0; row < kRows; ++row)
    for (const char* name : {"e", "x", "y", "valid"}) raw.particle[name][row * kSlots + 2] = 0.0f;
  return raw;
}

std::string card_text(const std::string& particles, const std::string& select) {
  return R"toml(card = 1
[[read.jet]]
from = "jets"
columns = ["pt", "mass", "kind", "weight", "event", "extra"]
[[read.part]]
from = "particles"
columns = ["e", "x", "y", "valid"]
[particles]
length = 2
)toml" + particles +
         R"toml(
[inputs]
features = [["log(part.e / jet.pt)", 0, 1], "part.x", "sum(part.y) - part.x"]
[label]
of = "jet.kind"
classes = [["a", 0], ["b", 1]]
[select]
)toml" + select +
         R"toml(
[weights]
sample = "jet.weight"
[split]
by = "jet.event"
[output]
observers = ["jet.extra", "sum(part.e)"]
)toml";
}

Card card_of(const std::string& particles = "mask = \"part.valid > 0\"",
             const std::string& select = "jets = \"jet.mass > 0\"") {
  return parse_card(card_text(particles, select), "odd");
}

/// What training does with a block.
FeatureBlock use(const Card& card, const RawColumns& raw) {
  const FeaturePipeline pipeline(card);
  RowSelection selection;
  pipeline.select_rows(raw, selection);
  return pipeline.evaluate(raw, selection.kept);
}

std::string refusal(const Card& card, const RawColumns& raw) {
  try {
    use(card, raw);
  } catch (const DataError& error) {
    return error.what();
  }
  return "not refused";
}

float& entry(RawColumns& raw, const std::string& column, std::size_t row, std::size_t slot) {
  return raw.particle[column][row * kSlots + slot];
}

/// The lines that a message tells to paste, without their indentation.
std::string advice_of(const std::string& message) {
  const auto begin = message.find(":\n  ");
  EXPECT_NE(begin, std::string::npos) << message;
  return begin == std::string::npos ? "" : message.substr(begin + 2);
}

TEST(OddValuesTest, ASoundBlockPasses) { EXPECT_EQ(refusal(card_of(), sound_block()), "not refused"); }

TEST(OddValuesTest, InfinityInAnyInputColumnOfARealParticleIsNamed) {
  for (const char* column : {"e", "x", "y"}) {
    for (const float value : {kFloatInfinity, -kFloatInfinity}) {
      RawColumns raw = sound_block();
      entry(raw, column, 1, 1) = value;
      entry(raw, column, 3, 0) = value;
      for (const char* policy : {"", "nan = 0.0\n"})  // which covers NaN alone
        EXPECT_THAT(refusal(card_of(std::string(policy) + "mask = \"part.valid > 0\""), raw),
                    AllOf(HasSubstr("odd.h5, row 101, particle 1: part." + std::string(column) + " is "),
                          HasSubstr("inf (2 of the 4 rows read together")));
    }
  }
}

TEST(OddValuesTest, InfinityIsNamedInJetsWithoutAMaskToo) {
  RawColumns raw = sound_block();
  entry(raw, "e", 2, 0) = kFloatInfinity;
  const std::string message = refusal(card_of("sort_by_pt = false"), raw);
  EXPECT_THAT(message, AllOf(HasSubstr("row 102, particle 0: part.e is inf"),
                             HasSubstr("mask = \"abs(part.e) < 1e30\"")));
  EXPECT_EQ(refusal(card_of(advice_of(message)), raw), "not refused");
}

TEST(OddValuesTest, TheAdviceForInfinityInAParticleWorks) {
  RawColumns raw = sound_block();
  entry(raw, "x", 1, 0) = kFloatInfinity;
  const std::string message = refusal(card_of(), raw);
  EXPECT_THAT(
      message,
      HasSubstr("paste under [particles] of the card:\n  mask = \"(part.valid > 0) & abs(part.x) < 1e30\""));
  const FeatureBlock block = use(card_of(advice_of(message)), raw);
  EXPECT_THAT(block.kept_rows, ElementsAre(0, 1, 2, 3));
  EXPECT_FALSE(block.tensors["mask"].const_data_ptr<bool>()[3]);  // one particle of row 1 is left
}

TEST(OddValuesTest, NanOfARealParticleIsNamedUnlessTheCardReplacesIt) {
  for (const char* column : {"e", "x", "y"}) {
    RawColumns raw = sound_block();
    entry(raw, column, 2, 1) = kFloatNan;
    const std::string message = refusal(card_of(), raw);
    EXPECT_THAT(message,
                HasSubstr("row 102, particle 1: part." + std::string(column) + " is NaN (1 of the 4 rows"));
    const FeatureBlock block = use(card_of("mask = \"part.valid > 0\"\n" + advice_of(message)), raw);
    EXPECT_GT(std::accumulate(block.replaced.begin(), block.replaced.end(), std::int64_t{0}), 0) << column;
  }
}

TEST(OddValuesTest, NothingCountsInPadding) {
  for (const float value : {kFloatNan, kFloatInfinity}) {
    RawColumns raw = sound_block();
    for (const char* column : {"e", "x", "y"})
      for (std::size_t row = 0; row < kRows; ++row) entry(raw, column, row, 2) = value;
    EXPECT_EQ(refusal(card_of(), raw), "not refused");
  }
}

TEST(OddValuesTest, WhatIsCutAwayByLengthCountsOnlyInSums) {
  Card card = card_of();
  override_length(card, 1);
  RawColumns raw = sound_block();
  entry(raw, "x", 0, 1) = kFloatInfinity;
  EXPECT_EQ(refusal(card, raw), "not refused");
  entry(raw, "y", 0, 1) = kFloatInfinity;
  EXPECT_THAT(refusal(card, raw), HasSubstr("particle 1: part.y is inf"));
}

TEST(OddValuesTest, JetColumnsOfInputsAreLookedAt) {
  for (const double value : {kInfinity, -kInfinity, 1e300}) {
    RawColumns raw = sound_block();
    raw.jet["pt"][2] = value;
    const std::string message = refusal(card_of(), raw);
    EXPECT_THAT(message, AllOf(HasSubstr("odd.h5, row 102: jet.pt is "), HasSubstr("(1 of the 4 rows")));
    EXPECT_THAT(use(card_of("mask = \"part.valid > 0\"", advice_of(message)), raw).kept_rows,
                ElementsAre(0, 1, 3));
  }
  RawColumns raw = sound_block();
  raw.jet["pt"][2] = kNan;
  EXPECT_THAT(refusal(card_of(), raw), AllOf(HasSubstr("row 102: jet.pt is NaN"), HasSubstr("nan = 0.0")));
  EXPECT_EQ(refusal(card_of("nan = 0.0\nmask = \"part.valid > 0\""), raw), "not refused");
}

TEST(OddValuesTest, ColumnsOfObserversAloneMayHoldAnything) {
  RawColumns raw = sound_block();
  raw.jet["extra"] = {kNan, kInfinity, -kInfinity, 1};
  EXPECT_EQ(refusal(card_of(), raw), "not refused");
}

TEST(OddValuesTest, SelectionWeightAndSplitKeyAreLookedAt) {
  for (const std::string column : {"mass", "weight", "event"}) {
    for (const double value : {kNan, kInfinity, -kInfinity}) {
      RawColumns raw = sound_block();
      raw.jet[column][1] = raw.jet[column][3] = value;
      const std::string message = refusal(card_of(), raw);
      EXPECT_THAT(message, AllOf(HasSubstr("odd.h5, row 101: "), HasSubstr("jet." + column),
                                 HasSubstr("(2 of the 4 rows")));
      const Card dropping =
          card_of("mask = \"part.valid > 0\"", "jets = \"jet.mass > 0\"\n" + advice_of(message));
      RowSelection selection;
      FeaturePipeline(dropping).select_rows(raw, selection);
      EXPECT_THAT(selection.kept, ElementsAre(0, 2)) << column;
      EXPECT_EQ(selection.labels.size(), 2U);
      EXPECT_EQ(selection.keys.size(), 2U);
      EXPECT_EQ(selection.weights.size(), 2U);
      EXPECT_EQ(selection.counts.not_finite, 2);
      EXPECT_EQ(selection.counts.selected, 2);
      EXPECT_THAT(selection.counts.per_class, ElementsAre(0, 2));
    }
  }
}

TEST(OddValuesTest, WhatASelectionLeavesOutDoesNotCount) {
  RawColumns raw = sound_block();
  raw.jet["mass"][1] = -1;
  raw.jet["weight"][1] = raw.jet["event"][1] = raw.jet["pt"][1] = kNan;
  entry(raw, "x", 1, 0) = kFloatInfinity;
  EXPECT_THAT(use(card_of(), raw).kept_rows, ElementsAre(0, 2, 3));
}

TEST(OddValuesTest, AWeightThatIsDividedByZeroIsOdd) {
  RawColumns raw = sound_block();
  raw.jet["event"][0] = 0;
  Card card = card_of();
  card.sample_weight = "jet.weight / jet.event";
  EXPECT_THAT(refusal(card, raw), HasSubstr("row 100: the weight \"jet.weight / jet.event\" is inf"));
}

TEST(OddValuesTest, TheMaskOfARealParticleHasToBeFinite) {
  RawColumns raw = sound_block();
  entry(raw, "valid", 3, 1) = kFloatInfinity;  // above 0: real
  EXPECT_THAT(refusal(card_of(), raw), HasSubstr("row 103, particle 1: part.valid is inf"));
}

TEST(OddValuesTest, NanInTheMaskIsPaddingUnlessItHidesAParticle) {
  const std::string by_energy = "mask = \"part.e > 0\"";
  RawColumns raw = sound_block();
  for (const char* column : {"e", "x", "y"}) entry(raw, column, 1, 2) = kFloatNan;  // as ATLAS pads
  EXPECT_EQ(refusal(card_of(by_energy), raw), "not refused");
  entry(raw, "e", 2, 2) = kFloatNan;  // padded by zeros elsewhere
  EXPECT_EQ(refusal(card_of(by_energy), raw), "not refused");

  entry(raw, "e", 3, 0) = kFloatNan;  // x and y are those of a particle
  const std::string message = refusal(card_of(by_energy), raw);
  EXPECT_THAT(message, AllOf(HasSubstr("row 103, particle 0: part.e is NaN"),
                             HasSubstr("takes for padding what looks like a particle")));
  const FeatureBlock block = use(card_of(by_energy + "\n" + advice_of(message)), raw);
  EXPECT_FALSE(block.tensors["mask"].const_data_ptr<bool>()[7]);
}

TEST(OddValuesTest, TheFirstOfManyGroupsIsNamed) {
  RawColumns raw = sound_block();
  raw.rows = 5000;
  for (auto& [name, values] : raw.jet) values.assign(5000, 1);
  for (auto& [name, values] : raw.particle) values.assign(5000 * kSlots, 1);
  entry(raw, "x", 4321, 1) = kFloatInfinity;
  entry(raw, "e", 4321, 0) = kFloatNan;
  entry(raw, "x", 4900, 0) = kFloatInfinity;
  EXPECT_THAT(refusal(card_of(), raw), HasSubstr("row 4421, particle 0: part.e is NaN (2 of the 5000 rows"));
}

TEST(OddValuesTest, JetsWithoutParticlesAreCounted) {
  RawColumns raw = sound_block();
  for (std::size_t slot = 0; slot < kSlots; ++slot)
    entry(raw, "valid", 1, slot) = entry(raw, "valid", 2, slot) = 0;
  EXPECT_EQ(use(card_of(), raw).counts.without_particles, 2);
}

TEST(OddValuesTest, WhatAnExpressionMakesOfSoundValuesIsNamedToo) {
  const auto card = [](const std::string& particles) {
    std::string text = card_text("mask = \"part.valid > 0\"\n" + particles, "jets = \"jet.mass > 0\"");
    const std::string input = "\"part.x\"";
    text.replace(text.find(input), input.size(), "\"log(part.x - part.x)\"");
    return parse_card(text, "odd");
  };
  const std::string message = refusal(card(""), sound_block());
  EXPECT_THAT(message, AllOf(HasSubstr("odd.h5, row 100, particle 0: \"log(part.x - part.x)\" is -inf"),
                             HasSubstr("under [particles]"), HasSubstr("nan = 0.0")));
  EXPECT_EQ(refusal(card(advice_of(message)), sound_block()), "not refused");
}

}  // namespace
}  // namespace bunchtrain::features
