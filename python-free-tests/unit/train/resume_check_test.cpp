// SPDX-License-Identifier: Apache-2.0
#include "resume_check.hpp"

#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

using Lines = std::vector<std::string>;

std::vector<Fact> facts_with(std::vector<Fact> other = {}) {
  std::vector<Fact> facts = {{"batch", "256", "default"},
                             {"seed", "1", "default"},
                             {"card", "\"auto\"", "default"},
                             {"precision", "\"float32\"", "default"},
                             {"epochs", "30", "--epochs", Fact::Kind::length},
                             {"resolved card", "length = 100\nunit = 1\n", "", Fact::Kind::derived},
                             {"training data", "90 samples, fingerprint ab", "a.h5", Fact::Kind::derived}};
  for (const auto& fact : other) {
    const auto found = std::ranges::find(facts, fact.name, &Fact::name);
    if (found == facts.end())
      facts.push_back(fact);
    else
      *found = fact;
  }
  return facts;
}

TEST(ResumeCheckTest, NothingDiffersFromItself) {
  const Changes changes = compare_facts(facts_with(), facts_with());
  EXPECT_TRUE(changes.settings.empty() && changes.derived.empty() && changes.lengths.empty());
  EXPECT_NO_THROW(require_unchanged(changes, "run", false));
}

TEST(ResumeCheckTest, WhereAValueCameFromDoesNotMatter) {
  EXPECT_TRUE(compare_facts(facts_with(), facts_with({{"seed", "1", "--seed"}})).settings.empty());
}

TEST(ResumeCheckTest, EveryDifferenceIsNamedWithBothValues) {
  const auto now = facts_with({{"seed", "5", "--seed"}, {"batch", "128", "set by the program"}});
  const Changes changes = compare_facts(facts_with(), now);
  EXPECT_EQ(changes.settings, (Lines{"batch was 256 (default), is 128 (set by the program)",
                                     "seed was 1 (default), is 5 (--seed)"}));
  try {
    require_unchanged(changes, "runs/a", false);
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    const std::string text = error.what();
    for (const char* part : {"runs/a", "seed was 1", "batch was 256", "resume allow_changed"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_NO_THROW(require_unchanged(changes, "runs/a", true));
}

TEST(ResumeCheckTest, SettingsAreNamedInsteadOfTheDataThatFollowFromThem) {
  const Fact data{"training data", "90 samples, fingerprint cd", "a.h5", Fact::Kind::derived};
  EXPECT_EQ(compare_facts(facts_with(), facts_with({data, {"seed", "5", "--seed"}})).foremost(),
            Lines{"seed was 1 (default), is 5 (--seed)"});
  EXPECT_EQ(
      compare_facts(facts_with(), facts_with({data})).foremost(),
      Lines{"training data was 90 samples, fingerprint ab (a.h5), is 90 samples, fingerprint cd (a.h5)"});
}

TEST(ResumeCheckTest, AnotherNameForTheSameCardIsNoChange) {
  EXPECT_TRUE(
      compare_facts(facts_with(), facts_with({{"card", "\"mine.toml\"", "--card"}})).settings.empty());
  const Fact card{"resolved card", "length = 64\nunit = 1\n", "", Fact::Kind::derived};
  const Changes other = compare_facts(facts_with(), facts_with({card}));
  EXPECT_EQ(other.foremost(), Lines{"resolved card was 'length = 100', is 'length = 64'"});
}

TEST(ResumeCheckTest, LengthsAreNoReasonToRefuse) {
  const Changes changes =
      compare_facts(facts_with(), facts_with({{"epochs", "6", "--epochs", Fact::Kind::length}}));
  EXPECT_EQ(changes.lengths, Lines{"epochs was 30 (--epochs), is 6 (--epochs)"});
  EXPECT_NO_THROW(require_unchanged(changes, "run", false));
}

TEST(ResumeCheckTest, ToOrFromFloat64IsRefusedInAnyCase) {
  const Changes changes =
      compare_facts(facts_with(), facts_with({{"precision", "\"float64\"", "--precision"}}));
  EXPECT_THROW(require_unchanged(changes, "run", true), ConfigError);
  const Changes bfloat =
      compare_facts(facts_with(), facts_with({{"precision", "\"bfloat16\"", "--precision"}}));
  EXPECT_NO_THROW(require_unchanged(bfloat, "run", true));
}

TEST(ResumeCheckTest, BetweenPrecisionsOf16BitsIsAChangeLikeAnother) {
  const Changes changes = compare_facts(facts_with({{"precision", "\"bfloat16\"", "--precision"}}),
                                        facts_with({{"precision", "\"float16\"", "--precision"}}));
  EXPECT_THROW(require_unchanged(changes, "run", false), ConfigError);
  EXPECT_NO_THROW(require_unchanged(changes, "run", true));
}

TEST(ResumeCheckTest, OptionsThatCameOrWentAreNamedUnlessTheyAreAtTheirDefault) {
  EXPECT_TRUE(compare_facts(facts_with(), facts_with({{"new", "0", "default"}})).settings.empty());
  EXPECT_TRUE(compare_facts(facts_with({{"old", "0", "default"}}), facts_with()).settings.empty());
  EXPECT_EQ(compare_facts(facts_with(), facts_with({{"new", "3", "--new"}})).settings,
            Lines{"new was not known, is 3 (--new)"});
  EXPECT_EQ(compare_facts(facts_with({{"flip", "3", "--flip"}}), facts_with()).settings,
            Lines{"flip was 3 (--flip), is not used now"});
}

TEST(RunFactsTest, SurviveTheirText) {
  const auto facts = facts_with({{"text", "with \"quotes\"\nand lines", "file \\ path"}});
  const auto again = parse_facts(to_json(facts));
  ASSERT_EQ(again.size(), facts.size());
  for (std::size_t i = 0; i < facts.size(); ++i) {
    EXPECT_EQ(again[i], facts[i]);
    EXPECT_EQ(again[i].origin, facts[i].origin);
    EXPECT_EQ(again[i].kind, facts[i].kind);
  }
  EXPECT_THROW(parse_facts("[{]"), CheckpointError);
  EXPECT_THROW(parse_facts("[{\"name\": 3}]"), CheckpointError);
}

}  // namespace
}  // namespace bunchtrain::train
