// SPDX-License-Identifier: Apache-2.0
// Mistakes in cards: what, in which line, and how to mend it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "card_texts.hpp"

namespace bunchtrain::features {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CardTest, KindsThatContradictTheirBatchesAreRefused) {
  const auto refusal = [](const Card& card) -> std::string {
    try {
      validate(card);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  Card hits = load_card("hgcal_rechits");
  EXPECT_EQ(refusal(hits), "no error");
  hits.ragged = false;
  EXPECT_NE(refusal(hits).find("a padded collation makes padded ones of them"), std::string::npos)
      << refusal(hits);
  Card showers = load_card("top_tagging");
  showers.kind = CardKind::showers;
  EXPECT_NE(refusal(showers).find("a card of showers is a ShowerCard"), std::string::npos)
      << refusal(showers);
  try {
    parse_card("card = 1\n[particles]\nbatches = \"heaps\"\n", "mine.toml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("\"padded\" or \"ragged\""), std::string::npos) << error.what();
  }
}

TEST(HitCardTest, MistakesAreNamedWithWhatIsNear) {
  const auto error = [](std::string_view extra, std::string_view layout) {
    return error_of(hit_card(extra, layout));
  };
  constexpr std::string_view kCsr = "type = \"csr\"\nrow_splits = \"s\"";
  EXPECT_THAT(error("", "type = \"csr\"\nrow_split = \"s\""),
              AllOf(HasSubstr("row_split"), HasSubstr("did you mean \"row_splits\"?")));
  EXPECT_THAT(error("", "type = \"crs\""), HasSubstr("\"csr\", \"flat\" or \"padded\""));
  EXPECT_THAT(error("", "type = \"csr\""), HasSubstr("row_splits or counts"));
  EXPECT_THAT(error("", "type = \"flat\""), HasSubstr("layout.event"));
  EXPECT_THAT(error("", "type = \"padded\"\nevent = \"e\""), HasSubstr("only in a layout of type \"flat\""));
  EXPECT_THAT(error("", "type = \"csr\"\nrow_splits = \"s[0:3]\""), HasSubstr("a dataset, or a member"));
  EXPECT_THAT(error("", "row_splits = \"s\""), HasSubstr("needs \"type\""));
  EXPECT_THAT(error("[hits]\nlength = 4\n", kCsr), HasSubstr("unknown key \"length\" in [hits]"));
  EXPECT_THAT(error("[particles]\nlength = 4\n", kCsr), HasSubstr("unknown key \"particles\" at top level"));
  EXPECT_THAT(error("[select]\nevents = \"hit.x > 0\"\n", kCsr),
              HasSubstr("\"hit.x > 0\" varies over hits, but one value per event is needed"));
  EXPECT_THAT(error("[define]\npart.y = \"hit.x\"\n", kCsr), HasSubstr("begins with \"event.\" or \"hit.\""));
  EXPECT_THAT(error("[output]\nobservers = [\"event.q\"]\n", kCsr), HasSubstr("unknown name \"event.q\""));
  EXPECT_THAT(error("[label]\nof = \"hit.x\"\nclasses = [[\"a\", 0], [\"b\", 1]]\n[weights]\nsample = "
                    "\"sum(hit.x)\"\n",
                    kCsr),
              HasSubstr("a weight of hits where hits have labels"));
  std::string unknown = hit_card();
  unknown.replace(unknown.find("\"hits\""), 6, "\"hit\"");
  EXPECT_THAT(error_of(unknown), HasSubstr("\"jets\" or \"hits\""));
}

TEST(CardTest, UnknownKeysNameLineAndNearestKey) {
  EXPECT_THAT(error_of(small_card("[particles]\nlenght = 3\n")),
              AllOf(HasSubstr("my.toml, line 11"), HasSubstr("unknown key \"lenght\""),
                    HasSubstr("did you mean \"length\"?")));
  EXPECT_THAT(error_of(small_card("[lable]\nof = \"jet.pt\"\n")), HasSubstr("did you mean \"label\"?"));
  EXPECT_THAT(error_of(small_card("[split]\nfractions = { train = 0.5 }\n")), HasSubstr("known: valid"));
}

TEST(CardTest, MistakesNameTheLine) {
  EXPECT_THAT(error_of("[particles]\n"), HasSubstr("card = 1"));
  EXPECT_THAT(error_of("card = 2\n"), HasSubstr("version 1"));
  EXPECT_THAT(error_of("card = 1\nx = = 2\n"), HasSubstr("line 2"));
  EXPECT_THAT(error_of("card = 1\n"), HasSubstr("[[read.jet]]"));
  EXPECT_THAT(error_of(small_card("[particles]\nlength = 0\n")),
              AllOf(HasSubstr("line 11"), HasSubstr("length is 1 to")));
  EXPECT_THAT(error_of(small_card("[particles]\nmask = 3\n")), HasSubstr("mask is a text in quotes"));
  EXPECT_THAT(error_of(small_card("[define]\njet.x = \"jet.pt *\"\n")),
              AllOf(HasSubstr("line 11"), HasSubstr("expected")));
  EXPECT_THAT(error_of(small_card("[define]\nx = \"1\"\n")), HasSubstr("begins with \"jet.\" or \"part.\""));
  EXPECT_THAT(error_of(small_card("[select]\njets = \"jet.ptt > 3\"\n")),
              AllOf(HasSubstr("line 11"), HasSubstr("did you mean \"jet.pt\"")));
  EXPECT_THAT(error_of(small_card("[label]\nof = \"jet.kind\"\n")),
              HasSubstr("needs \"of\" and \"classes\""));
  EXPECT_THAT(error_of(small_card(
                  "[label]\nof = \"jet.kind\"\nclasses = [[\"a\", 0], [\"b\", 1]]\nsignal = \"c\"\n")),
              AllOf(HasSubstr("line 13"), HasSubstr("none of the classes")));
  EXPECT_THAT(error_of(small_card("[label]\nof = \"jet.kind\"\nclasses = [[\"a\", 0], [\"b\", 0]]\n")),
              HasSubstr("each label value in one class only"));
  EXPECT_THAT(error_of(small_card("[label]\nof = \"jet.kind\"\nclasses = [[\"a\"], [\"b\", 1]]\n")),
              HasSubstr("a class is a name and its label values"));
}

TEST(CardTest, RefusesUnitsThatDoNotConvert) {
  const std::string card = R"toml(card = 1
[[read.jet]]
from = "jets"
columns = ["pt"]
unit = { pt = "furlong" }
)toml";
  EXPECT_THAT(error_of(card), AllOf(HasSubstr("line 5"), HasSubstr("furlong"), HasSubstr("GeV")));
}

TEST(CardTest, RefusesTargetsThatAreNone) {
  const auto refusal = [](const std::string& line) {
    return error_of(small_card("[targets]\n" + line + "\n"));
  };
  for (const std::string taken : {"features", "mask", "label", "weight", "logits", "row"})
    EXPECT_THAT(refusal(taken + " = \"jet.pt\""),
                AllOf(HasSubstr("targets." + taken), HasSubstr("no input")));
  EXPECT_THAT(refusal("e = \"\""), HasSubstr("expression"));
  EXPECT_THAT(refusal("e = \"part.x\""), AllOf(HasSubstr("in [targets] e"), HasSubstr("one value per jet")));
  EXPECT_THAT(refusal("e = \"jet.energy\""), AllOf(HasSubstr("line 11"), HasSubstr("energy")));
  EXPECT_THAT(refusal("'a.b' = \"jet.pt\""), HasSubstr("names of letters"));
  EXPECT_THAT(refusal("e = 7"), AllOf(HasSubstr("line 11"), HasSubstr("{ of = \"jet.e\" }")));
  EXPECT_THAT(refusal("e = { unit = \"GeV\" }"), AllOf(HasSubstr("line 11"), HasSubstr("needs \"of\"")));
  EXPECT_THAT(refusal("e = { of = \"jet.pt\", scale = 2 }"),
              AllOf(HasSubstr("scale"), HasSubstr("of a target")));
  EXPECT_THAT(refusal("e = { of = \"jet.pt\", mean = 1 }"), HasSubstr("mean and width together"));
  EXPECT_THAT(refusal("e = { of = \"jet.pt\", mean = nan, width = 1 }"), HasSubstr("targets.e.mean"));
  EXPECT_THAT(refusal("e = { of = \"jet.pt\", mean = 1, width = 0 }"), HasSubstr("targets.e.width"));
  const auto lacking = [](const Card& card) {
    try {
      return card.target("enrgy").name;
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_THAT(
      lacking(parse_card(small_card("[targets]\nenergy = \"jet.pt\"\nmass = \"jet.pt\"\n"), "my")),
      HasSubstr("card my has no target 'enrgy'; its [targets] are energy, mass: did you mean 'energy'?"));
  EXPECT_THAT(lacking(parse_card(small_card(), "my")), HasSubstr("nor any other"));
}

TEST(CardTest, RefusesContradictoryNames) {
  EXPECT_THAT(error_of(small_card("[define]\njet.pt = \"1\"\n")), HasSubstr("every name is given once"));
  EXPECT_THAT(error_of(small_card("[define]\njet.a = \"jet.b\"\njet.b = \"jet.a\"\n")), HasSubstr("circle"));
  EXPECT_THAT(error_of(small_card("[define]\njet.a = \"part.x\"\n")), HasSubstr("sum()"));
  EXPECT_THAT(error_of(small_card("[output]\nobservers = [\"part.x\"]\n")), HasSubstr("one value per jet"));
  EXPECT_THAT(error_of(small_card("[particles]\nmask = \"part.pt > 0.1 * sum(part.pt)\"\n")),
              HasSubstr("mask"));
}

TEST(CardTest, ClassNamesHoldNoCommas) {
  EXPECT_THAT(error_of(small_card("[label]\nof = \"jet.kind\"\nclasses = [[\"a,b\", 0], [\"c\", 1]]\n")),
              HasSubstr("without commas"));
}

TEST(CardTest, RefusesBadSlices) {
  for (const char* from :
       {"x[3:2]", "x[a:2]", "x[2]", "x[-1:2]", ":member", "x:", "x]", "'x", "a/*:m", "a/*[0:1]", "/", ""}) {
    const std::string card =
        "card = 1\n[[read.jet]]\nfrom = \"" + std::string(from) + "\"\ncolumns = [\"pt\"]\n";
    EXPECT_THAT(error_of(card), HasSubstr("line 3")) << from;
  }
}

TEST(CardTest, UnknownCardNamesListTheBuiltinOnes) {
  try {
    load_card("top_taging");
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("did you mean top_tagging?"), HasSubstr("cms_btag")));
  }
  EXPECT_THROW(load_card("no/such/card.toml"), Error);
}

/// What is wrong, where, and how it is mended.
using Words = std::vector<std::string>;

/// small_card() with other [inputs].
std::string card_of_inputs(const std::string& inputs) {
  const std::string card = small_card();
  return card.substr(0, card.find("features = ")) + inputs + "\n";
}

std::string card_of_label(const std::string& classes, const std::string& more = "") {
  return small_card("[label]\nof = \"jet.kind\"\nclasses = " + classes + "\n" + more);
}

/// Each definition needs the next: compiling the first goes through all of them.
std::string card_of_nested_definitions(int count) {
  std::string definitions = "[define]\n";
  for (int i = count; i > 0; --i)
    definitions += "jet.d" + std::to_string(i) + " = \"jet.d" + std::to_string(i - 1) + "\"\n";
  return small_card(definitions + "jet.d0 = \"jet.pt\"\n");
}

TEST(CardTest, EveryMistakeInATextSaysWhatWhereAndHowToMendIt) {
  struct Mistake {
    std::string toml;
    Words words;
  };
  for (const auto& [toml, words] : std::vector<Mistake>{
           {card_of_label(R"([["a", 0], ["a", 1]])"), {"label.classes", "a, a", "names that differ"}},
           {card_of_label(R"([["", 0], ["b", 1]])"),
            {"label.classes", "a name and at least one label value"}},
           {card_of_label("[]"), {"label", "jet.kind", "\"of\" and \"classes\" together"}},
           {small_card("[weights]\nclass = \"balanced\"\n"), {"weights.class", "the card has no [label]"}},
           {small_card("[weights]\nclass = \"balancd\"\n"), {"line 11", "\"balanced\" or a number for each"}},
           {card_of_inputs("mask = [\"part.pt\"]"), {"inputs", "mask", "names that differ from each other"}},
           {card_of_inputs("features = [[\"part.pt\", 0, 1, 5, -5]]"),
            {"inputs.features", "part.pt", "a minimum not above the maximum"}},
           {card_of_inputs("features = []"), {"line 9", "input tensor \"features\" has no columns"}},
           {card_of_inputs("features = [3]"), {"line 9", "an input is \"expression\"", "\"auto\""}},
           {card_of_inputs("features = [[\"part.pt\"]]"), {"line 9", "subtract, multiply or \"auto\""}},
           {card_of_inputs("features = [[\"part.pt\", 1]]"), {"line 9", "subtract is followed by multiply"}},
           {card_of_inputs("features = [[\"part.pt\", 1, \"x\"]]"), {"line 9", "multiply is a number"}},
           {"card = 1\n[[read.jet]]\nfrom = \"jets\"\ncolumns = []\n",
            {"line 4", "\"columns\" is empty", "leave it out"}},
           {small_card("[particles]\nsort_by_pt = 3\n"), {"line 11", "sort_by_pt is true or false"}},
           {small_card("[select]\njets = \"(jet.pt > 3\"\n"), {"line 11", "expected \")\""}},
           {card_of_nested_definitions(70), {"line 11", "more than 64 definitions build on each other"}},
       })
    for (const std::string& word : words) EXPECT_THAT(error_of(toml), HasSubstr(word)) << toml;
}

/// A program may make its card itself.
TEST(CardTest, EveryMistakeInACardMadeByAProgramNamesItsField) {
  struct Mistake {
    void (*make)(Card&);
    Words words;
  };
  for (const auto& [make, words] : std::vector<Mistake>{
           {[](Card& card) { card.length = 0; }, {"particles.length", "at least 1"}},
           {[](Card& card) {
              card.class_weights = {1, 2, 3};
            },
            {"weights.class", "1, 2, 3", "one weight for each of the 2 classes"}},
           {[](Card& card) { card.targets = {{.name = "e", .expression = ""}}; },
            {"targets.e", "an expression of the jet"}},
           {[](Card& card) { card.signal = "c"; }, {"label.signal", "c", "one of the classes: a, b"}},
           {[](Card& card) { card.sources[0].units["pt"] = "furlong"; },
            {"unit \"furlong\" of jet.pt does not convert", "GeV"}},
           {[](Card& card) { card.sources[0].units["mass"] = "GeV"; },
            {"unit of \"mass\"", "jets has no such column", "pt, kind"}},
       }) {
    Card card = parse_card(card_of_label(R"([["a", 0], ["b", 1]])"), "mine");
    make(card);
    try {
      validate(card);
      ADD_FAILURE() << "accepted: " << words.front();
    } catch (const ConfigError& error) {
      for (const std::string& word : words) EXPECT_THAT(error.what(), HasSubstr(word));
    }
  }
}

}  // namespace
}  // namespace bunchtrain::features
