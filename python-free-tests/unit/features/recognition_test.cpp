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
    EXPECT_EQ(fit.kind, CardKind::showers);
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
  EXPECT_THAT(describe(judge_layout(jetnet_file())), HasSubstr("card jetnet fits, without labels"));
}

TEST(RecognitionTest, OtherShapesDoNotFit) {
  EXPECT_EQ(recognise(Shapes{real("X", {300, 136, 5}), integer("y", {300})}), std::nullopt);
  EXPECT_EQ(recognise(Shapes{real("X", {300, 136, 4}), integer("y", {200})}), std::nullopt);
  EXPECT_EQ(recognise(Shapes{{.name = "X", .kind = ElementKind::other, .shape = {300, 136, 4}}}),
            std::nullopt);
  EXPECT_EQ(recognise(Shapes{real("X", {})}), std::nullopt);
  EXPECT_EQ(recognise(Shapes{real("X", {300, 80}), integer("y", {300})}), std::nullopt)
      << "no particles in sight";
  EXPECT_EQ(recognise({}), std::nullopt);
  Shapes short_table = top_tagging_file();
  short_table[0].members[1].values = 400;
  EXPECT_EQ(recognise(short_table), std::nullopt);
}

TEST(RecognitionTest, NearestCardSaysWhatIsMissingAndWhatIsThere) {
  const auto said = [](const Shapes& shapes) { return describe(judge_layout(shapes)); };
  EXPECT_THAT(said(Shapes{real("particle_features", {500, 30, 4})}),
              AllOf(HasSubstr("no built-in card fits; nearest: "), HasSubstr("has particle_features, but"),
                    HasSubstr("jet_features is missing")));
  EXPECT_THAT(
      said(Shapes{real("X", {300, 136, 5}), integer("y", {300})}),
      AllOf(HasSubstr("quark_gluon"), HasSubstr("[300, 136, 5]"), HasSubstr("4 columns per particle")));
  EXPECT_THAT(said(Shapes{real("ECAL", {10, 25, 25, 25})}),
              AllOf(HasSubstr("lcd_fixed has ECAL"), HasSubstr("energy or target[1] is missing")));
  EXPECT_THAT(said(Shapes{real("hits", {10, 3})}), HasSubstr("none is near"));
  EXPECT_THAT(said(toy_file()),
              HasSubstr("card toy_jets fits (jet.kind: 0 qcd, 1 two_prong, 2 three_prong)"));
}

DatasetShape compound(std::string name, std::vector<std::int64_t> shape,
                      const std::vector<std::string>& reals, const std::vector<std::string>& integers) {
  DatasetShape result{.name = std::move(name), .kind = ElementKind::compound, .shape = std::move(shape)};
  for (const auto& member : reals) result.members.push_back({member, ElementKind::real, 1});
  for (const auto& member : integers) result.members.push_back({member, ElementKind::integer, 1});
  return result;
}

Shapes upp_file() {
  return {
      compound("jets", {900}, {"pt_btagJes", "eta_btagJes", "mass"}, {"HadronConeExclTruthLabelID", "n"}),
      compound("tracks", {900, 40},
               {"d0", "z0SinTheta", "deta", "dphi", "qOverP", "IP3D_signed_d0_significance",
                "IP3D_signed_z0_significance", "phiUncertainty", "thetaUncertainty", "qOverPUncertainty"},
               {"numberOfPixelHits", "numberOfSCTHits", "numberOfInnermostPixelLayerHits", "valid", "more"})};
}

Shapes spanet_file() {
  Shapes shapes{integer("CLASSIFICATIONS/EVENT/flavour", {70}), integer("INPUTS/Particles/MASK", {70, 40})};
  for (const char* name : {"pt", "deta", "dphi", "energy", "charged", "dxy"})
    shapes.push_back(real(std::string("INPUTS/Particles/") + name, {70, 40}));
  for (const char* name : {"pt", "eta", "mass"})
    shapes.push_back(real(std::string("INPUTS/Jet/") + name, {70}));
  shapes.push_back(integer("TARGETS/jet/lead_charged", {70}));
  return shapes;
}

TEST(RecognitionTest, LayoutsOfMembersAndOfOneDatasetPerFeature) {
  EXPECT_EQ(recognise(upp_file()), "upp");
  EXPECT_EQ(recognise(spanet_file()), "spanet");

  Shapes data = upp_file();  // of the detector: no truth
  std::erase_if(data[0].members, [](const auto& member) { return member.name.starts_with("Hadron"); });
  EXPECT_EQ(recognise(data), "upp");
  EXPECT_FALSE(judge_layout(data).card->labelled);
  Shapes unlabelled = spanet_file();
  unlabelled.erase(unlabelled.begin());
  EXPECT_EQ(recognise(unlabelled), "spanet");
  EXPECT_FALSE(judge_layout(unlabelled).card->labelled);

  Shapes other = upp_file();
  std::erase_if(other[1].members,
                [](const auto& member) { return member.name == "qOverP" || member.name == "d0"; });
  EXPECT_EQ(recognise(other), std::nullopt);
  EXPECT_THAT(describe(judge_layout(other)), HasSubstr("upp has jets, but tracks has no member d0, qOverP"));
  for (DatasetShape& dataset : other)
    std::erase_if(dataset.members, [](const auto& member) { return member.name == "eta_btagJes"; });
  EXPECT_THAT(describe(judge_layout(other)),
              HasSubstr("nearest: upp, but jets has no member eta_btagJes; tracks has no member d0, qOverP"));
  Shapes narrow = spanet_file();
  std::erase_if(narrow, [](const auto& dataset) { return dataset.name.ends_with("dxy"); });
  EXPECT_EQ(recognise(narrow), std::nullopt);
  EXPECT_THAT(describe(judge_layout(narrow)), HasSubstr("INPUTS/Particles/dxy is missing"));
}

TEST(RecognitionTest, UnlabelledTablesAreRecognised) {
  Shapes table = top_tagging_file();
  table[0].members.pop_back();
  EXPECT_EQ(recognise(table), "top_tagging");
  EXPECT_FALSE(judge_layout(table).card->labelled);
}

TEST(RecognitionTest, OpenSourcesMustHoldWhatIsNeeded) {
  const Card card = parse_card(
      "card = 1\n[[read.jet]]\nfrom = \"jets\"\n[[read.part]]\nfrom = \"INPUTS/P/*\"\n[inputs]\nfeatures = "
      "[\"part.a * "
      "jet.pt\"]\n[label]\nof = \"jet.kind\"\nclasses = [[\"a\", 0], [\"b\", 1]]\n",
      "open");
  const Shapes whole{compound("jets", {9}, {"pt"}, {"kind"}), real("INPUTS/P/a", {9, 4})};
  EXPECT_TRUE(fit_card(card, whole).fits());
  const Shapes unlabelled{compound("jets", {9}, {"pt"}, {}), real("INPUTS/P/a", {9, 4})};
  EXPECT_TRUE(fit_card(card, unlabelled).fits());
  EXPECT_FALSE(fit_card(card, unlabelled).labelled);
  EXPECT_THAT(fit_card(card, Shapes{compound("jets", {9}, {"pt"}, {"kind"})}).problems,
              testing::ElementsAre("part.a is missing"));
}

TEST(RecognitionTest, WhereALargerCardNearlyFitsItIsAskedFor) {
  Shapes file = cms_file();
  file.pop_back();  // event_no
  EXPECT_EQ(recognise(file), std::nullopt);
  const LayoutFit layout = judge_layout(file);
  ASSERT_EQ(layout.nearly.size(), 1u);
  EXPECT_THAT(describe(layout),
              AllOf(HasSubstr("card jetnet fits, but cms_btag nearly does"), HasSubstr("event_no is missing"),
                    HasSubstr("card = jetnet (jet.type: 0 g, 1 q, 2 t, 3 w, 4 z)"),
                    HasSubstr("card = cms_btag (jet.flavour: 0 1 light, 3 b)")));
  EXPECT_EQ(recognise(with(jetnet_file(), {integer("jet_label", {500}), real("unrelated", {500, 3})})),
            "jetnet");
}

TEST(RecognitionTest, DraftOfAKnownLayoutIsItsCard) {
  EXPECT_EQ(parse_card(draft_card(toy_file(), "toy.h5"), "toy_jets"), load_card("toy_jets"));
}

TEST(RecognitionTest, DraftWhereALargerCardNearlyFitsSaysSo) {
  Shapes file = cms_file();
  file.pop_back();
  const std::string text = draft_card(file, "cms.h5");
  EXPECT_EQ(parse_card(text, "jetnet"), load_card("jetnet"));
  EXPECT_THAT(text, HasSubstr("cms_btag nearly does"));
}

TEST(RecognitionTest, DraftOfAnUnknownLayoutParses) {
  Shapes file{{.name = "jets",
               .kind = ElementKind::compound,
               .shape = {100},
               .members = {{"pt", ElementKind::real, 1},
                           {"flavour", ElementKind::integer, 1},
                           {"name", ElementKind::other, 1}}},
              {.name = "tracks",
               .kind = ElementKind::compound,
               .shape = {100, 40},
               .members = {{"pt", ElementKind::real, 1},
                           {"d0 [mm]", ElementKind::real, 1},
                           {"valid", ElementKind::boolean, 1}}},
              real("group/extra-weights", {100}),
              real("history", {7}),
              real("images", {100, 3, 64, 64})};
  const std::string text = draft_card(file, "atlas.h5");
  const Card card = parse_card(text, "draft");
  EXPECT_EQ(card.mask, "part.valid > 0");
  EXPECT_EQ(card.length, 40);
  EXPECT_EQ(card.num_inputs("features"), 2u) << "the mask is no input";
  EXPECT_EQ(card.num_inputs("points"), 2u);
  EXPECT_TRUE(card.inputs[1].second[1].automatic);
  EXPECT_EQ(card.inputs[1].second[1].expression, "part.'d0 [mm]'");
  EXPECT_THAT(text,
              AllOf(HasSubstr("# of = \"jet.flavour\""), HasSubstr("# left out: images [100, 3, 64, 64]"),
                    HasSubstr("extra_weights"), Not(HasSubstr("\"name\"")), HasSubstr("for atlas.h5")));
  EXPECT_TRUE(fit_card(card, file).fits());

  file[0].members[1].seen = {-1, 0, 4, 5};
  const Card labelled = parse_card(draft_card(file, "atlas.h5"), "draft");
  EXPECT_EQ(labelled.label, "jet.flavour");
  EXPECT_EQ(labelled.classes, (std::vector<ClassSpec>{{"class_0", {0}}, {"class_4", {4}}, {"class_5", {5}}}));
  EXPECT_TRUE(labelled.drop_other_labels);
}

TEST(RecognitionTest, DraftOfPlainArraysParses) {
  const Card card = parse_card(
      draft_card(Shapes{real("data/X", {50, 20, 6}), integer("data/y", {50})}, "plain.h5"), "draft");
  EXPECT_EQ(card.num_inputs("features"), 6u);
  EXPECT_EQ(card.mask, "abs(part.X_0) > 0") << "NaN is no particle";
  EXPECT_EQ(parse_card(draft_card(Shapes{real("a:b[0]", {50, 20, 6})}, "odd.h5"), "draft").sources[0].dataset,
            "a:b[0]");
  EXPECT_THROW(draft_card(Shapes{integer("y", {10})}, "labels.h5"), DataError);
}

TEST(RecognitionTest, DraftOfOneDatasetPerColumnReadsTheGroup) {
  Shapes file{integer("CLASSIFICATIONS/EVENT/signal", {9}),
              integer("INPUTS/Source/MASK", {9, 15}),
              real("INPUTS/Source/deta", {9, 15}),
              real("INPUTS/Source/dphi", {9, 15}),
              real("INPUTS/Source/pt", {9, 15}),
              real("INPUTS/Met/met", {9}),
              real("INPUTS/Met/phi", {9})};
  file[0].seen = {0, 1};
  const std::string text = draft_card(file, "spanet.h5");
  const Card card = parse_card(text, "draft");
  EXPECT_TRUE(fit_card(card, file).fits()) << text;
  EXPECT_THAT(text, AllOf(HasSubstr("from = \"INPUTS/Source/*\""), HasSubstr("from = \"INPUTS/Met/*\"")));
  EXPECT_EQ(card.mask, "part.MASK > 0");
  EXPECT_EQ(card.inputs[0].second[0].expression, "part.deta");
  EXPECT_EQ(card.label, "jet.signal");
  EXPECT_EQ(card.signal, "signal");
}

TEST(RecognitionTest, DraftOfATableOfAnotherKeyIsTheCardWithItsName) {
  Shapes table = top_tagging_file();
  table[0].name = "df/table";
  Shapes fixed{real("train/block0_values", {70, 804}),
               integer("train/block1_values", {70, 2}),
               {.name = "train/block0_items", .kind = ElementKind::other, .shape = {804}}};
  for (const Shapes& file : {table, fixed}) {
    const Card card = parse_card(draft_card(file, "table.h5"), "top_tagging");
    EXPECT_TRUE(fit_card(card, file).fits());
    EXPECT_EQ(card.inputs, load_card("top_tagging").inputs);
    EXPECT_EQ(card.classes, load_card("top_tagging").classes);
  }
}

TEST(RecognitionTest, DraftOfDatasetsInAGroupIsTheCardWithTheirNames) {
  Shapes file = with(jetnet_file(), {integer("jet_label", {500})});
  for (DatasetShape& dataset : file) dataset.name = "store:1/" + dataset.name;
  const Card card = parse_card(draft_card(file, "links.h5"), "jetnet");
  EXPECT_TRUE(fit_card(card, file).fits());
  EXPECT_EQ(card.sources[0].dataset, "store:1/jet_features");
  EXPECT_EQ(card.classes, load_card("jetnet").classes);
}

TEST(RecognitionTest, DraftOfFlatRowsFoldsThem) {
  Shapes file{real("X", {60, 80}), integer("is_signal", {60}), real("weights", {60})};
  file[1].seen = {0, 1};
  const Card card = parse_card(draft_card(file, "flat.h5"), "draft");
  EXPECT_TRUE(fit_card(card, file).fits());
  EXPECT_EQ(card.length, 20);
  EXPECT_EQ(card.num_inputs("features"), 4u);
  EXPECT_EQ(card.label, "jet.is_signal");
}

TEST(RecognitionTest, DraftOfShowersParses) {
  const Shapes file{real("cells:v2", {10, 25, 25, 24, 1}), real("energies", {10, 1})};
  const ShowerCard card = parse_shower_card(draft_card(file, "showers.h5"), "draft");
  EXPECT_TRUE(fit_card(card, file).fits()) << to_toml(card);
  EXPECT_EQ(card.cells[0].dataset, "cells:v2");
  EXPECT_EQ(parse_shower_card(draft_card(Shapes{real("ECAL", {10, 9, 8, 7})}, "no_energy.h5"), "draft")
                .energy.from[0],
            "energy");
}

}  // namespace
}  // namespace bunchtrain::features
