// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/shower_card.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"

namespace bunchtrain::features {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string card_with(const std::string& more) {
  return "card = 1\n[shower]\ncells = [{ from = \"ECAL\", shape = [2, 3, 4] }]\n" + more;
}
constexpr std::string_view kEnergy = "[primary]\nenergy = \"energy\"\n";

template <class Parse>
std::string message_of(const Parse& parse) {
  try {
    parse();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
std::string error_of(const std::string& toml) {
  return message_of([&] { parse_shower_card(toml, "my.toml"); });
}

TEST(ShowerCardTest, BuiltinCardsParse) {
  EXPECT_THAT(builtin_shower_cards(),
              ElementsAre("lcd_fixed", "lcd_angle", "calogan", "calochallenge_1_photons",
                          "calochallenge_1_pions", "calochallenge_2", "calochallenge_3"));
  EXPECT_EQ(load_shower_card("lcd_fixed").num_cells(), 25 * 25 * 25);
  EXPECT_EQ(load_shower_card("calogan").num_cells(), 3 * 96 + 12 * 12 + 12 * 6);
  EXPECT_EQ(load_shower_card("calochallenge_1_photons").num_cells(), 368);
  EXPECT_EQ(load_shower_card("calochallenge_1_pions").num_cells(), 533);
  EXPECT_EQ(load_shower_card("calochallenge_2").num_cells(), 6480);
  EXPECT_EQ(load_shower_card("calochallenge_3").num_cells(), 40500);
}

TEST(ShowerCardTest, TheVariableAngleCardIsAsPublished) {
  const ShowerCard card = load_shower_card("lcd_angle");
  EXPECT_THAT(card.cells, ElementsAre(CellBlock{"ECAL", {51, 51, 25}}));
  EXPECT_EQ(card.scale, 50);
  EXPECT_EQ(card.minimum_sum, 0.2);
  EXPECT_EQ(card.image_scale, 50);
  EXPECT_EQ(card.image_power, 0.85);
  EXPECT_THAT(card.theta.from, ElementsAre("theta"));
  EXPECT_THAT(card.measured_theta.from, ElementsAre("mtheta"));
  EXPECT_TRUE(card.has_angle());
  EXPECT_EQ(card.valid_fraction, 0.1);
  EXPECT_TRUE(card.split_by_file);
  EXPECT_EQ(load_shower_card("calochallenge_2").axes, CellAxes::cylindrical);
}

TEST(ShowerCardTest, TheDocumentedCardParses) {
  const std::string page = read_text_file(BUNCHTRAIN_SOURCE_DIR "/docs/cards.md");
  const std::size_t section = page.find("## Showers");
  ASSERT_NE(section, std::string::npos);
  const std::size_t begin = page.find("```toml\n", section) + 8, end = page.find("```", begin);
  const std::string text = page.substr(begin, end - begin);
  EXPECT_TRUE(is_shower_card(text));
  const ShowerCard card = parse_shower_card(text, "docs/cards.md");
  EXPECT_EQ(parse_shower_card(to_toml(card), "again"), card);
}

TEST(ShowerCardTest, WrittenCardsReadBackEqual) {
  std::vector<ShowerCard> cards;
  for (const std::string& name : builtin_shower_cards()) cards.push_back(load_shower_card(name));
  ShowerCard odd = cards.front();
  odd.name = "with \"quotes\"";
  odd.split_by_file = false;
  odd.threshold = 0.1 + 0.2;
  odd.energy.unit = "MeV";
  odd.fill_missing = true;
  cards.push_back(odd);
  for (const ShowerCard& card : cards)
    EXPECT_EQ(parse_shower_card(to_toml(card), "elsewhere"), card) << to_toml(card);
}

TEST(ShowerCardTest, ColumnsAreTextsListsOrTables) {
  const auto energy = [](const std::string& value) {
    return parse_shower_card(card_with("[primary]\nenergy = " + value + "\n"), "c").energy;
  };
  EXPECT_EQ(energy("\"e\""), (ShowerColumn{{"e"}, "GeV"}));
  EXPECT_EQ(energy("[\"e\", \"target[1]\"]"), (ShowerColumn{{"e", "target[1]"}, "GeV"}));
  EXPECT_EQ(energy("{ from = \"e\", unit = \"MeV\" }"), (ShowerColumn{{"e"}, "MeV"}));
  EXPECT_EQ(place_of("target[1]").dataset, "target");
  EXPECT_EQ(place_of("target[1]").column, 1);
  EXPECT_EQ(place_of("energy").column, -1);
  EXPECT_EQ(place_of("/a/target[1]").dataset, "a/target");
}

TEST(ShowerCardTest, UnknownKeysNameLineAndNearestKey) {
  EXPECT_THAT(error_of(card_with("treshold = 1\n")),
              AllOf(HasSubstr("my.toml, line 4"), HasSubstr("\"treshold\" in [shower]"),
                    HasSubstr("did you mean \"threshold\"?")));
  EXPECT_THAT(error_of(card_with("[primary]\nenrgy = \"e\"\n")), HasSubstr("did you mean \"energy\"?"));
  EXPECT_THAT(error_of(card_with("[image]\npowr = 1\n")), HasSubstr("did you mean \"power\"?"));
  EXPECT_THAT(error_of(card_with("[label]\nof = 1\n")), HasSubstr("unknown key \"label\" at top level"));
}

TEST(ShowerCardTest, MistakesNameTheLine) {
  EXPECT_THAT(error_of(card_with("axes = \"polar\"\n")),
              AllOf(HasSubstr("line 4"), HasSubstr("cylindrical")));
  EXPECT_THAT(error_of(card_with("unit = \"mm/s\"\n")), HasSubstr("does not convert"));
  EXPECT_THAT(error_of(card_with("pitch = [1, 2]\n")), HasSubstr("pitch has 3 numbers"));
  EXPECT_THAT(error_of(card_with("ratio = \"wide\"\n")), HasSubstr("ratio is an array"));
  EXPECT_THAT(error_of(card_with("[primary]\nenergy = \"target[x]\"\n")),
              AllOf(HasSubstr("line 5"), HasSubstr("target[1]")));
  EXPECT_THAT(error_of(card_with("[primary]\nenergy = { unit = \"GeV\" }\n")),
              HasSubstr("\"from\" is missing"));
  EXPECT_THAT(error_of(card_with("[split]\nby = \"day\"\n")), HasSubstr("\"file\" or \"shower\""));
  EXPECT_THAT(error_of("card = 1\n[shower]\n"), HasSubstr("needs \"cells\""));
  EXPECT_THAT(error_of("card = 1\n[shower]\ncells = [{ from = \"a\", shape = [1, 2] }]\n"),
              HasSubstr("shape has 3 extents"));
  EXPECT_THAT(error_of("card = 1\n[shower\n"), HasSubstr("line 2"));
}

TEST(ShowerCardTest, ValuesThatCannotBeAreRefused) {
  const std::string energy(kEnergy);
  EXPECT_THAT(error_of(card_with("")), HasSubstr("primary.energy"));
  EXPECT_THAT(error_of(card_with("scale = 0\n" + energy)), HasSubstr("shower.scale"));
  EXPECT_THAT(error_of(card_with("threshold = -1\n" + energy)), HasSubstr("shower.threshold"));
  EXPECT_THAT(error_of(card_with("minimum_sum = nan\n" + energy)), HasSubstr("shower.minimum_sum"));
  EXPECT_THAT(error_of(card_with("ratio = [2, 1]\n" + energy)), HasSubstr("shower.ratio"));
  EXPECT_THAT(error_of(card_with(energy + "[image]\npower = 0\n")), HasSubstr("image.power"));
  EXPECT_THAT(error_of(card_with(energy + "[split]\nfractions = { valid = 1 }\n")), HasSubstr("below 1"));
  // A product of extents that overflows 64 bits must not pass for a small one.
  EXPECT_THAT(
      error_of("card = 1\n[shower]\ncells = [{ from = \"a\", shape = [4294967296, 4294967296, 1] }]\n" +
               energy),
      HasSubstr("shower.cells"));
  EXPECT_THAT(error_of("card = 1\n[shower]\ncells = [{ from = \"a\", shape = [0, 1, 1] }]\n" + energy),
              HasSubstr("shower.cells"));
}

TEST(ShowerCardTest, EachKindOfCardNamesItsTrainer) {
  EXPECT_THAT(message_of([] { load_card("lcd_fixed"); }), HasSubstr("train_3dgan"));
  EXPECT_THAT(message_of([] { load_shower_card("top_tagging"); }), HasSubstr("train_particlenet"));
  EXPECT_TRUE(is_shower_card(builtin_card_text("calogan")));
  EXPECT_FALSE(is_shower_card(builtin_card_text("jetnet")));
  EXPECT_FALSE(is_shower_card("[["));
  EXPECT_THAT(message_of([] { load_shower_card("lcd_fixd"); }),
              AllOf(HasSubstr("did you mean lcd_fixed?"), HasSubstr("calochallenge_3")));
}

TEST(ShowerCardTest, EveryMistakeSaysWhatWhereAndHowToMendIt) {
  const std::string energy(kEnergy);
  const std::string two_grids =
      "card = 1\n[shower]\ncells = [{ from = \"a\", shape = [2, 3, 4] }, { from = \"b\", shape = [2, 3, 4] "
      "}]\n";
  struct Mistake {
    std::string toml;
    std::vector<std::string> words;
  };
  for (const auto& [toml, words] : std::vector<Mistake>{
           {"card = 1\n[shower]\ncells = []\n" + energy, {"shower.cells", "at least one dataset of cells"}},
           {"card = 1\n[shower]\ncells = [{ from = \"a:b\", shape = [2, 3, 4] }]\n" + energy,
            {"line 3", "\"a:b\"", "the name of one dataset", "in quotes: \"'a:b'\""}},
           {card_with("pitch = [1, 1, 0]\n" + energy), {"shower.pitch", "0", "above 0 mm"}},
           {two_grids + energy + "theta = \"theta\"\n",
            {"primary.theta", "a card with one dataset of cells"}},
           {card_with(energy + "[image]\nscale = 0\n"), {"image.scale", "above 0"}},
       })
    for (const std::string& word : words) EXPECT_THAT(error_of(toml), HasSubstr(word)) << toml;
}

TEST(ShowerCardTest, EveryMistakeInACardMadeByAProgramNamesItsField) {
  struct Mistake {
    void (*make)(ShowerCard&);
    std::vector<std::string> words;
  };
  for (const auto& [make, words] : std::vector<Mistake>{
           {[](ShowerCard& card) { card.cells[0].dataset = ""; }, {"shower.cells", "the name of a dataset"}},
           {[](ShowerCard& card) { card.unit = "furlong"; }, {"shower.unit", "furlong", "GeV"}},
           {[](ShowerCard& card) { card.energy.unit = "furlong"; },
            {"primary.energy.unit", "furlong", "GeV"}},
       }) {
    ShowerCard card = load_shower_card("lcd_fixed");
    make(card);
    const std::string message = message_of([&] { validate(card); });
    for (const std::string& word : words) EXPECT_THAT(message, HasSubstr(word));
  }
}

}  // namespace
}  // namespace bunchtrain::features
