// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/recognition.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::features {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Shapes = std::vector<DatasetShape>;

DatasetShape real(std::string name, std::vector<std::int64_t> shape) {
  return {.name = std::move(name), .kind = ElementKind::real, .shape = std::move(shape)};
}
DatasetShape integer(std::string name, std::vector<std::int64_t> shape) {
  return {.name = std::move(name), .kind = ElementKind::integer, .shape = std::move(shape)};
}

Shapes top_tagging_file() {
  return {{.name = "table/table",
           .kind = ElementKind::compound,
           .shape = {1000},
           .members = {{"index", ElementKind::integer, 1},
                       {"values_block_0", ElementKind::real, 804},
                       {"values_block_1", ElementKind::integer, 2}}},
          integer("table/_i_table/index/abounds", {17})};
}
Shapes jetnet_file() { return {real("particle_features", {500, 30, 4}), real("jet_features", {500, 4})}; }
Shapes with(Shapes shapes, std::vector<DatasetShape> more) {
  shapes.insert(shapes.end(), more.begin(), more.end());
  return shapes;
}
Shapes toy_file() { return with(jetnet_file(), {integer("jet_label", {500}), integer("toy_prongs", {500})}); }
Shapes cms_file() {
  return with(jetnet_file(), {integer("jet_label", {500}), real("particle_extra", {500, 30, 8}),
                              integer("event_no", {500})});
}

TEST(RecognitionTest, EachLayoutHasOneCard) {
  EXPECT_EQ(recognise(top_tagging_file()), "top_tagging");
  EXPECT_EQ(recognise(Shapes{real("X", {300, 136, 4}), integer("y", {300})}), "quark_gluon");
  EXPECT_EQ(recognise(with(jetnet_file(), {integer("jet_label", {500})})), "jetnet");
  EXPECT_EQ(recognise(toy_file()), "toy_jets");
  EXPECT_EQ(recognise(cms_file()), "cms_btag");
}

TEST(RecognitionTest, ShowersAreToldByTheirGrid) {
  const auto energy = real("energy", {100});
  EXPECT_EQ(recognise(Shapes{real("ECAL", {100, 25, 25, 25}), energy}), "lcd_fixed");
  EXPECT_EQ(recognise(Shapes{real("ECAL", {100, 25, 25, 25}), real("target", {100, 2})}), "lcd_fixed");
  EXPECT_EQ(recognise(Shapes{real("ECAL", {100, 25, 25, 25, 1}), energy}), "lcd_fixed");
  EXPECT_EQ(recognise(Shapes{real("ECAL", {100, 51, 51, 25}), energy}), "lcd_angle");
  EXPECT_EQ(
      recognise(Shapes{real("ECAL", {100, 51, 51, 25}), energy, real("theta", {100}), real("mtheta", {100})}),
      "lcd_angle");
  const auto incident = real("incident_energies", {100, 1});
  EXPECT_EQ(recognise(Shapes{incident, real("showers", {100, 368})}), "calochallenge_1_photons");
  EXPECT_EQ(recognise(Shapes{incident, real("showers", {100, 533})}), "calochallenge_1_pions");
  EXPECT_EQ(recognise(Shapes{incident, real("showers", {100, 6480})}), "calochallenge_2");
  EXPECT_EQ(recognise(Shapes{incident, real("showers", {100, 40500})}), "calochallenge_3");
  EXPECT_EQ(recognise(Shapes{real("energy", {100, 1}), real("layer_0", {100, 3, 96}),
                             real("layer_1", {100, 12, 12}), real("layer_2", {100, 12, 6}),
                             real("overflow", {100, 3})}),
            "calogan");
}

TEST(RecognitionTest, ShowersThatDoNotFitSayWhy) {
  const ShowerCard card = load_shower_card("lcd_fixed");
  const auto problems = [&](const Shapes& shapes) {
    const CardFit fit = fit_card(card, shapes);
    EXPECT_TRUE(fit.showers);
    EXPECT_FALSE(fit.fits());
    return fit.problems.empty() ? std::string() : fit.problems.front();
  };
  const auto energy = real("energy", {100});
  EXPECT_THAT(problems({real("ECAL", {100, 25, 25, 24}), energy}), HasSubstr("25 x 25 x 25 cells"));
  EXPECT_THAT(problems({real("ECAL", {}), energy}), HasSubstr("ECAL has shape []"));
  EXPECT_THAT(problems({real("ECAL", {100, 25, 25, 25}), real("energy", {90})}), HasSubstr("has 90 rows"));
  EXPECT_THAT(problems({real("ECAL", {100, 25, 25, 25}), real("target", {100, 1})}), HasSubstr("target[1]"));
  EXPECT_THAT(problems({{.name = "ECAL", .kind = ElementKind::other, .shape = {100, 25, 25, 25}}, energy}),
              HasSubstr("holds no numbers"));
}

TEST(RecognitionTest, LabelsMayBeMissing) {
  EXPECT_EQ(recognise(jetnet_file()), "jetnet");
  const CardFit fit = fit_card(load_card("jetnet"), jetnet_file());
  EXPECT_TRUE(fit.fits());
  EXPECT_FALSE(fit.labelled);
  EXPECT_EQ(recognise(Shapes{real("X", {300, 136, 4})}), "quark_gluon");
  EXPECT_THAT(describe_nearest(jetnet_file()), HasSubstr("without labels"));
}

TEST(RecognitionTest, OtherShapesDoNotFit) {
  EXPECT_EQ(recognise(Shapes{real("X", {300, 136, 5}), integer("y", {300})}), std::nullopt);
  EXPECT_EQ(recognise(Shapes{real("X", {300, 136, 4}), integer("y", {200})}), std::nullopt);
  EXPECT_EQ(recognise(Shapes{{.name = "X", .kind = ElementKind::other, .shape = {300, 136, 4}}}),
            std::nullopt);
  EXPECT_EQ(recognise(Shapes{real("X", {})}), std::nullopt);
  EXPECT_EQ(recognise({}), std::nullopt);
  Shapes short_table = top_tagging_file();
  short_table[0].members[1].values = 400;
  EXPECT_EQ(recognise(short_table), std::nullopt);
}

TEST(RecognitionTest, NearestCardSaysWhatIsMissing) {
  EXPECT_THAT(describe_nearest(Shapes{real("particle_features", {500, 30, 4})}),
              AllOf(HasSubstr("nearest card is"), HasSubstr("jet_features is missing")));
  EXPECT_THAT(
      describe_nearest(Shapes{real("X", {300, 136, 5}), integer("y", {300})}),
      AllOf(HasSubstr("quark_gluon"), HasSubstr("[300, 136, 5]"), HasSubstr("4 columns per particle")));
  EXPECT_THAT(describe_nearest(Shapes{real("ECAL", {10, 25, 25, 25})}),
              AllOf(HasSubstr("lcd_fixed"), HasSubstr("energy or target[1] is missing")));
  EXPECT_EQ(describe_nearest(Shapes{real("hits", {10, 3})}), "");
}

TEST(RecognitionTest, DraftOfAKnownLayoutIsItsCard) {
  EXPECT_EQ(parse_card(draft_card(toy_file(), "toy.h5"), "toy_jets"), load_card("toy_jets"));
}

TEST(RecognitionTest, DraftOfAnUnknownLayoutParses) {
  const Shapes file{{.name = "jets",
                     .kind = ElementKind::compound,
                     .shape = {100},
                     .members = {{"pt", ElementKind::real, 1},
                                 {"flavour", ElementKind::integer, 1},
                                 {"name", ElementKind::other, 1}}},
                    {.name = "tracks",
                     .kind = ElementKind::compound,
                     .shape = {100, 40},
                     .members = {{"pt", ElementKind::real, 1},
                                 {"d0", ElementKind::real, 1},
                                 {"valid", ElementKind::boolean, 1}}},
                    real("group/extra-weights", {100}),
                    real("history", {7}),
                    real("images", {100, 3, 64, 64})};
  const std::string text = draft_card(file, "atlas.h5");
  const Card card = parse_card(text, "draft");
  EXPECT_EQ(card.mask, "part.valid > 0");
  EXPECT_EQ(card.length, 40);
  EXPECT_EQ(card.num_inputs("features"), 3u);
  EXPECT_TRUE(card.inputs[0].second[0].automatic);
  EXPECT_THAT(text,
              AllOf(HasSubstr("# of = \"jet.flavour\""), HasSubstr("# left out: images [100, 3, 64, 64]"),
                    HasSubstr("extra_weights"), Not(HasSubstr("\"name\""))));
}

TEST(RecognitionTest, DraftOfPlainArraysParses) {
  const Card card = parse_card(
      draft_card(Shapes{real("data/X", {50, 20, 6}), integer("data/y", {50})}, "plain.h5"), "draft");
  EXPECT_EQ(card.num_inputs("features"), 6u);
  EXPECT_EQ(card.mask, "part.X_0 != 0");
  EXPECT_THROW(draft_card(Shapes{real("ECAL", {10, 25, 25, 25})}, "showers.h5"), DataError);
}

}  // namespace
}  // namespace bunchtrain::features
