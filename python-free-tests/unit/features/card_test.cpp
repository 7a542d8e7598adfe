// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/card.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "bunchtrain/core/atomic_file.hpp"
#include "card_texts.hpp"

namespace bunchtrain::features {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

/// Example (c) of the card language: ATLAS UPP files, members named in the file.
constexpr std::string_view kUppCard = R"toml(card = 1
[[read.jet]]
from = "jets"
unit = { pt_btagJes = "MeV" }
[[read.part]]
from = "tracks"
unit = { pt = "MeV", d0 = "mm", z0SinTheta = "mm" }
[particles]
mask = "part.valid"
length = 40
nan = 0.0
[define]
part.ptfrac = "part.pt / jet.pt_btagJes"
[inputs]
points = ["part.deta", "part.dphi"]
features = [["log(part.pt)", "auto"], ["log(part.ptfrac)", "auto"], ["part.d0", "auto"], ["part.z0SinTheta", "auto"],
            ["part.IP3D_signed_d0_significance", 0, 0.1], "part.deta", "part.dphi"]
[label]
of = "jet.HadronConeExclTruthLabelID"
classes = [["u", 0], ["c", 4], ["b", 5]]
others = "drop"
signal = "b"
[select]
jets = "jet.pt_btagJes > 20 & jet.pt_btagJes < 250 & abs(jet.eta_btagJes) < 2.5"     # GeV
[weights]
sample = "jet.weight"
[output]
observers = ["jet.pt_btagJes", "jet.eta_btagJes", "jet.eventNumber"]
)toml";

TEST(CardTest, BuiltinCardsParse) {
  EXPECT_THAT(builtin_cards(),
              ElementsAre("top_tagging", "quark_gluon", "jetnet", "cms_btag", "upp", "spanet", "toy_jets"));
  EXPECT_EQ(load_card("top_tagging").num_inputs("features"), 7u);
  EXPECT_EQ(load_card("quark_gluon").num_inputs("features"), 13u);
  EXPECT_EQ(load_card("jetnet").num_inputs("features"), 7u);
  EXPECT_EQ(load_card("cms_btag").num_inputs("features"), 14u);
  EXPECT_EQ(load_card("upp").num_inputs("features"), 15u);
  EXPECT_EQ(load_card("spanet").num_inputs("features"), 9u);
  EXPECT_EQ(load_card("toy_jets").num_inputs("points"), 2u);
  EXPECT_EQ(load_card("toy_jets").num_inputs("nothing"), 0u);
}

TEST(CardTest, ReadsEveryKeyOfTheFlavourTaggingCard) {
  const Card card = load_card("cms_btag");
  EXPECT_EQ(card.name, "cms_btag");
  ASSERT_EQ(card.sources.size(), 5u);
  EXPECT_EQ(card.sources[4].dataset, "particle_extra");
  EXPECT_TRUE(card.sources[4].per_particle);
  EXPECT_THAT(card.sources[4].units, ElementsAre(Pair("dxy", "cm"), Pair("dz", "cm")));
  EXPECT_EQ(card.mask, "part.mask > 0.5");
  EXPECT_EQ(card.length, 56);
  EXPECT_EQ(card.define.front().first, "jet.e");  // the order of the text, not of the alphabet
  EXPECT_EQ(card.define.back().first, "part.z0");
  EXPECT_EQ(card.inputs[0].first, "points");
  EXPECT_EQ(card.label, "jet.flavour");
  EXPECT_EQ(card.classes, (std::vector<ClassSpec>{{"light", {0, 1}}, {"b", {3}}}));
  EXPECT_TRUE(card.drop_other_labels);
  EXPECT_EQ(card.signal, "b");
  EXPECT_EQ(card.select, "jet.pt > 20 & abs(jet.eta) < 2.4");
  EXPECT_TRUE(card.balanced_classes);
  EXPECT_EQ(card.split_by, "jet.event");
  EXPECT_EQ(card.valid_fraction, 0.2);
  EXPECT_THAT(card.observers, ElementsAre("jet.pt", "jet.eta", "jet.event"));
}

TEST(CardTest, ReadsDatasetMemberAndSlice) {
  const ReadSource source = load_card("top_tagging").sources[0];
  EXPECT_EQ(source.dataset, "table/table");
  EXPECT_EQ(source.member, "values_block_0");
  EXPECT_EQ(source.slice_begin, 0);
  EXPECT_EQ(source.slice_end, 800);
  EXPECT_THAT(source.units, ElementsAre(Pair("*", "GeV")));
}

TEST(CardTest, ExpandsTheSevenKinematicFeatures) {
  const Card card = load_card("top_tagging");
  const auto& features = card.inputs[1].second;
  ASSERT_EQ(features.size(), 7u);
  EXPECT_EQ(features[0], (InputSpec{"log(part.pt)", false, 1.7, 0.7, -5, 5}));
  EXPECT_EQ(features[4], (InputSpec{"hypot(part.deta, part.dphi)", false, 0.2, 4.0, -5, 5}));
  EXPECT_EQ(features[6], (InputSpec{"part.dphi"}));
}

TEST(CardTest, TheDocumentedCardParses) {
  const std::string page = read_text_file(BUNCHTRAIN_SOURCE_DIR "/docs/cards.md");
  const std::size_t begin = page.find("```toml\n") + 8, end = page.find("```", begin);
  const Card card = parse_card(page.substr(begin, end - begin), "docs/cards.md");
  EXPECT_EQ(card.num_inputs("features"), 4u);
  EXPECT_EQ(card.inputs[1].second[2].minimum, 0);
  EXPECT_TRUE(card.sort_by_pt);
  EXPECT_EQ(parse_card(to_toml(card), "again"), card);

  const std::size_t second = page.find("```toml\n", end + 3) + 8;  // groups and quotes
  const Card quoted = parse_card(page.substr(second, page.find("```", second) - second), "docs/cards.md");
  EXPECT_TRUE(quoted.sources[0].group);
  EXPECT_EQ(quoted.sources[1].dataset, "odd:name[0]");
  EXPECT_EQ(parse_card(to_toml(quoted), "again"), quoted);

  const std::size_t hits = page.find("```toml\ncard = 1\nkind = \"hits\"") + 8;
  const Card of_hits = parse_card(page.substr(hits, page.find("```", hits) - hits), "docs/cards.md");
  EXPECT_EQ(of_hits.kind, CardKind::hits);
  EXPECT_TRUE(of_hits.ragged);
  EXPECT_EQ(parse_card(to_toml(of_hits), "again"), of_hits);
}

TEST(HitCardTest, LayoutsAreWrittenAsTheyAreRead) {
  EXPECT_THAT(builtin_hit_cards(), ElementsAre("hgcal_rechits"));
  EXPECT_EQ(kind_of_card("hgcal_rechits"), CardKind::hits);
  EXPECT_EQ(kind_of_card("top_tagging"), CardKind::jets);
  EXPECT_EQ(kind_of_card("lcd_fixed"), CardKind::showers);
  for (const char* layout : {"type = \"csr\"\nrow_splits = \"a/s\"", "type = \"csr\"\ncounts = \"events:n\"",
                             "type = \"flat\"\nevent = \"'odd:hits':event\"\nevents = \"events:event\"",
                             "type = \"padded\"", "type = \"padded\"\ncounts = \"n\""}) {
    const Card card = parse_card(hit_card("", layout), "my.toml");
    EXPECT_EQ(card.kind, CardKind::hits);
    EXPECT_EQ(parse_card(to_toml(card), "again"), card) << layout;
  }
  EXPECT_EQ(parse_card(hit_card("", "type = \"flat\"\nevent = \"'odd:hits':event\""), "my.toml").layout.event,
            (NumberPlace{.dataset = "odd:hits", .member = "event"}));
}

TEST(CardTest, DerivesWhatKinematicsNeed) {
  const Card momenta = parse_card(R"toml(card = 1
[[read.part]]
from = "p"
columns = ["e", "px", "py", "pz"]
[inputs]
features = ["kinematics7"]
)toml",
                                  "momenta");
  EXPECT_THAT(momenta.define, Contains(Pair("jet.px", "sum(part.px)")));
  EXPECT_THAT(momenta.define, Contains(Pair("jet.e", "sum(part.e)")));

  const Card angles = parse_card(R"toml(card = 1
[[read.part]]
from = "p"
columns = ["pt", "eta", "phi"]
[inputs]
features = ["kinematics7"]
)toml",
                                 "angles");
  EXPECT_THAT(angles.define, Contains(Pair("part.px", "part.pt * cos(part.phi)")));
  EXPECT_THAT(angles.define, Contains(Pair("part.e", "part.pt * cosh(part.eta)")));

  EXPECT_THAT(error_of("card = 1\n[[read.part]]\nfrom = \"p\"\ncolumns = [\"pt\"]\n[inputs]\nfeatures = "
                       "[\"kinematics7\"]\n"),
              AllOf(HasSubstr("line 6"), HasSubstr("kinematics7 needs jet.pt")));
}

TEST(CardTest, AbsoluteNamesOfDatasetsAreTheRelativeOnes) {
  const auto place = [](const std::string& from) {
    return parse_card("card = 1\n[[read.part]]\nfrom = \"" + from +
                          "\"\ncolumns = [\"pt\"]\n[inputs]\nfeatures = [\"part.pt\"]\n",
                      "c")
        .sources.front();
  };
  EXPECT_EQ(place("/jets"), place("jets"));
  EXPECT_EQ(place("/a/b:member[0:1]"), place("a/b:member[0:1]"));
  EXPECT_EQ(place("//a").dataset, "a");
  EXPECT_THAT(error_of("card = 1\n[[read.jet]]\nfrom = \"/\"\n"), HasSubstr("names no dataset"));
}

TEST(CardTest, SaysWhatBecomesOfRowsThatAreMissing) {
  EXPECT_FALSE(parse_card(small_card(), "c").fill_missing);
  EXPECT_FALSE(parse_card("missing = \"error\"\n" + small_card(), "c").fill_missing);
  EXPECT_TRUE(parse_card("missing = \"fill\"\n" + small_card(), "c").fill_missing);
  EXPECT_THAT(error_of("missing = \"zero\"\n" + small_card()),
              AllOf(HasSubstr("line 1"), HasSubstr("\"zero\""), HasSubstr("\"fill\"")));
}

TEST(CardTest, ReadsCompoundsWithoutColumnList) {
  const Card card = parse_card(kUppCard, "cards/upp.toml");
  EXPECT_EQ(card.name, "upp");
  EXPECT_TRUE(card.sources[0].columns.empty());
  EXPECT_EQ(card.sources[1].units.at("d0"), "mm");
  EXPECT_EQ(card.nan, 0.0);
  EXPECT_TRUE(card.inputs[1].second[0].automatic);
  EXPECT_EQ(card.inputs[1].second[0].maximum, 5);
  EXPECT_EQ(card.inputs[1].second[4], (InputSpec{"part.IP3D_signed_d0_significance", false, 0, 0.1, -5, 5}));
  EXPECT_EQ(card.sample_weight, "jet.weight");
}

TEST(CardTest, WrittenCardsReadBackEqual) {
  std::vector<Card> cards{parse_card(kUppCard, "upp")};
  for (const std::string& name : builtin_cards()) cards.push_back(load_card(name));
  cards.push_back(parse_card(small_card(), "small"));
  Card quoted = cards.back();
  quoted.sources[0].dataset = "odd:name[0]";
  quoted.sources[1].dataset = "it's/group";
  quoted.sources[1].group = true;
  cards.push_back(quoted);
  cards.push_back(parse_card(small_card(), "small"));
  Card odd = cards.back();
  odd.class_weights = {1.0 / 3, 2e-9};
  odd.label = "jet.kind";
  odd.classes = {{"a \"quoted\" name", {-1}}, {"back\\slash", {2, 3}}};
  odd.inputs[0].second[1].minimum = -0.1;  // one bound only
  odd.inputs[0].second[1].multiply = 0.1 + 0.2;
  odd.sources[0].slice_begin = 2;
  odd.sort_by_pt = true;
  odd.fill_missing = true;
  odd.drop_not_finite = true;
  odd.weight_factor = 1.0 / 3e-9;
  cards.push_back(odd);
  for (const Card& card : cards) EXPECT_EQ(parse_card(to_toml(card), "elsewhere"), card) << to_toml(card);
}

TEST(CardTest, WeightsHaveAFactorAndSelectionsAPolicy) {
  const Card card = parse_card(
      small_card("[select]\nnot_finite = \"drop\"\n[weights]\nsample = \"jet.pt\"\nfactor = 2.5\n"), "small");
  EXPECT_TRUE(card.drop_not_finite);
  EXPECT_EQ(card.weight_factor, 2.5);
  EXPECT_FALSE(parse_card(small_card("[select]\nnot_finite = \"error\"\n"), "small").drop_not_finite);
  EXPECT_THAT(error_of(small_card("[select]\nnot_finite = \"keep\"\n")),
              AllOf(HasSubstr("line 11"), HasSubstr("not_finite = \"keep\": \"drop\" or \"error\"")));
  for (const char* factor : {"0", "-1.0", "inf", "nan"})
    EXPECT_THAT(error_of(small_card(std::string("[weights]\nfactor = ") + factor + "\n")),
                HasSubstr("a finite number above 0"))
        << factor;
}

TEST(CardTest, LabelsAreDescribed) {
  EXPECT_EQ(describe_labels(load_card("jetnet")), "jet.type: 0 g, 1 q, 2 t, 3 w, 4 z");
  EXPECT_EQ(describe_labels(parse_card(small_card(), "small")), "none");
  EXPECT_EQ(
      describe_labels(parse_card(
          small_card("[label]\nof = \"jet.kind\"\nclasses = [[\"light\", 0, 1], [\"b\", 3]]\n"), "small")),
      "jet.kind: 0 1 light, 3 b");
}

TEST(CardTest, TargetsKeepTheirOrderAndSayWhatTheyAre) {
  const Card card =
      parse_card(small_card("[targets]\nmass = \"sum(part.pt)\"\nenergy = { of = \"log(jet.pt)\", unit = "
                            "\"GeV\", relative = true, mean = 3.5, width = 0.25 }\n"),
                 "my.toml");
  ASSERT_EQ(card.targets.size(), 2U);
  EXPECT_EQ(card.targets[0], (TargetSpec{.name = "mass", .expression = "sum(part.pt)"}));
  EXPECT_EQ(card.targets[1], (TargetSpec{.name = "energy",
                                         .expression = "log(jet.pt)",
                                         .unit = "GeV",
                                         .relative = true,
                                         .mean = 3.5,
                                         .width = 0.25}));
  EXPECT_EQ(&card.target("energy"), &card.targets[1]);
  EXPECT_EQ(parse_card(to_toml(card), "my.toml"), card);
  for (const auto& builtin : builtin_cards())
    EXPECT_EQ(parse_card(to_toml(load_card(builtin)), builtin), load_card(builtin));
}

/// The source of a card that reads `from`.
ReadSource source_of(const std::string& from) {
  return parse_card("card = 1\n[[read.jet]]\nfrom = \"" + from + "\"\ncolumns = [\"pt\"]\n", "mine")
      .sources[0];
}

TEST(CardTest, NamesInQuotesMayHoldAnything) {
  struct Case {
    std::string from, dataset, member;
    std::int64_t begin = 0, end = -1;
    bool group = false;
  };
  for (const Case& one : std::vector<Case>{{"'weird:name[0]'[0:4]", "weird:name[0]", "", 0, 4},
                                           {"'a:b':'pt[GeV]'[2:]", "a:b", "pt[GeV]", 2},
                                           {"it''s", "its", ""},
                                           {"'it''s'", "it's", ""},
                                           {"group/'x:y'", "group/x:y", ""},
                                           {"/a//b/./c:m", "a/b/c", "m"},
                                           {"a:b:m", "a:b", "m"},
                                           {"a b.c", "a b.c", ""},
                                           {"INPUTS/Source/*", "INPUTS/Source", "", 0, -1, true},
                                           {"'x*'", "x*", ""},
                                           {"*", "", "", 0, -1, true}}) {
    const ReadSource source = source_of(one.from);
    EXPECT_EQ(source.dataset, one.dataset) << one.from;
    EXPECT_EQ(source.member, one.member) << one.from;
    EXPECT_EQ(source.slice_begin, one.begin) << one.from;
    EXPECT_EQ(source.slice_end, one.end) << one.from;
    EXPECT_EQ(source.group, one.group) << one.from;
  }
}

TEST(CardTest, ColumnsInQuotesMayHaveAnyName) {
  const Card card = parse_card(R"toml(card = 1
[[read.part]]
from = "'tracks:v2'"
columns = ["pt [MeV]", "it's", "x:y", "a.b"]
unit = { "pt [MeV]" = "MeV" }
[define]
part.pt = "part.'pt [MeV]'"
[inputs]
features = ["log(part.pt)", "part.'it''s' + part.'x:y'", "part.a.b"]
)toml",
                               "mine");
  EXPECT_EQ(parse_card(to_toml(card), "mine"), card) << to_toml(card);
  EXPECT_THAT(
      error_of("card = 1\n[[read.jet]]\nfrom = \"j\"\ncolumns = [\"p t\"]\n[select]\njets = \"jet.'p_t' > "
               "1\"\n"),
      HasSubstr("known: jet.'p t'"));
  EXPECT_THAT(
      error_of("card = 1\n[[read.jet]]\nfrom = \"j\"\ncolumns = [\"p t\"]\n[select]\njets = \"jet.'p t > "
               "1\"\n"),
      HasSubstr("that ends the name"));
}

/// What the message about a name with a colon or a bracket advises is done.
TEST(CardTest, TheAdvisedQuotesWork) {
  EXPECT_THAT(error_of("card = 1\n[[read.jet]]\nfrom = \"name[0]\"\ncolumns = [\"pt\"]\n"),
              HasSubstr("from = \"'name[0]'\""));
  EXPECT_EQ(source_of("'name[0]'").dataset, "name[0]");
  EXPECT_THAT(error_of("card = 1\n[[read.jet]]\nfrom = \"a:\"\ncolumns = [\"pt\"]\n"),
              HasSubstr("in quotes: 'a:'"));
  EXPECT_EQ(source_of("'a:'").dataset, "a:");
}

TEST(CardTest, OneUnitHoldsForAllMembersOfTheOnlyOpenSource) {
  EXPECT_THAT(error_of("card = 1\n[[read.jet]]\nfrom = \"a\"\nunit = \"MeV\"\n[[read.jet]]\nfrom = \"b\"\n"),
              HasSubstr("list its \"columns\""));
  EXPECT_EQ(error_of("card = 1\n[[read.jet]]\nfrom = \"a\"\nunit = \"MeV\"\n[[read.part]]\nfrom = \"b\"\n"),
            "no error");
}

TEST(CardTest, FilesMayBeTheLabel) {
  Card card = load_card("jetnet");
  label_by_file(card, std::vector<std::string>{"t", "g"});
  EXPECT_EQ(card.label, "file");
  EXPECT_EQ(card.classes, (std::vector<ClassSpec>{{"g", {0}}, {"t", {2}}})) << "the card's own, in its order";
  EXPECT_EQ(card.signal, "t");
  EXPECT_EQ(parse_card(to_toml(card), "again"), card);
  EXPECT_EQ(describe_labels(card), "file: 0 g, 2 t");

  Card other = load_card("jetnet");
  label_by_file(other, std::vector<std::string>{"top", "gluon"});
  EXPECT_EQ(other.classes, (std::vector<ClassSpec>{{"top", {0}}, {"gluon", {1}}})) << "in the order given";
  EXPECT_EQ(other.signal, "");
  EXPECT_NO_THROW(label_by_file(other, std::vector<std::string>{"gluon"})) << "a network's classes stay";
  EXPECT_EQ(other.classes.size(), 2u);
  EXPECT_THROW(label_by_file(other, std::vector<std::string>{"w"}), ConfigError);

  Card trained = load_card("jetnet");
  label_by_file_of_known_classes(trained, std::vector<std::string>{"w"});
  EXPECT_EQ(trained.classes, load_card("jetnet").classes);
  EXPECT_THROW(label_by_file_of_known_classes(trained, std::vector<std::string>{"top"}), ConfigError);
  Card weighted = load_card("jetnet");
  weighted.class_weights = {1, 2, 3, 4, 5};
  EXPECT_THROW(label_by_file(weighted, std::vector<std::string>{"t", "g"}), ConfigError);
  EXPECT_THROW(label_by_file(card = load_card("jetnet"), std::vector<std::string>{"t"}), ConfigError);
}

TEST(CardTest, OverridesLengthAndClassOrder) {
  Card card = load_card("top_tagging");
  card.class_weights = {1, 3};
  override_length(card, 64);
  EXPECT_EQ(card.length, 64);
  EXPECT_THROW(override_length(card, 0), ConfigError);
  override_class_order(card, std::vector<std::string>{"top", "qcd"});
  EXPECT_EQ(card.classes, (std::vector<ClassSpec>{{"top", {1}}, {"qcd", {0}}}));
  EXPECT_THAT(card.class_weights, ElementsAre(3, 1));
  EXPECT_THROW(override_class_order(card, std::vector<std::string>{"top"}), ConfigError);
  EXPECT_THROW(override_class_order(card, std::vector<std::string>{"top", "top"}), ConfigError);
  EXPECT_THROW(override_class_order(card, std::vector<std::string>{"top", "gluon"}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::features
