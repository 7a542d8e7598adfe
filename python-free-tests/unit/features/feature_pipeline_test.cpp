// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/feature_pipeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "unit/features/raw_blocks.hpp"

namespace bunchtrain::features {
namespace {

using test::make_top_tagging_block;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::int64_t> all_rows(const RawColumns& raw) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(raw.rows));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

double wrap(double angle) {
  while (angle >= std::numbers::pi) angle -= 2 * std::numbers::pi;
  while (angle < -std::numbers::pi) angle += 2 * std::numbers::pi;
  return angle;
}

double clip(double x, double subtract, double multiply) {
  return std::clamp((x - subtract) * multiply, -5.0, 5.0);
}

/// kinematics7 in double precision from four-momenta, written down independently of the card.
std::array<double, 7> reference_kinematics(double e, double px, double py, double pz, double jet_e,
                                           double jet_px, double jet_py, double jet_pz) {
  const double pt = std::sqrt(px * px + py * py), jet_pt = std::sqrt(jet_px * jet_px + jet_py * jet_py);
  const double jet_eta = std::atanh(jet_pz / std::sqrt(jet_pt * jet_pt + jet_pz * jet_pz));
  const double eta = std::atanh(pz / std::sqrt(pt * pt + pz * pz));
  const double deta = (eta - jet_eta) * (jet_eta < 0 ? -1 : 1);
  const double dphi = wrap(std::atan2(py, px) - std::atan2(jet_py, jet_px));
  return {clip(std::log(pt), 1.7, 0.7),
          clip(std::log(e), 2.0, 0.7),
          clip(std::log(pt / jet_pt), -4.7, 0.7),
          clip(std::log(e / jet_e), -4.7, 0.7),
          clip(std::sqrt(deta * deta + dphi * dphi), 0.2, 4.0),
          deta,
          dphi};
}

TEST(FeaturePipelineTest, TopTaggingMatchesDoublePrecisionFormulas) {
  const RawColumns raw = make_top_tagging_block(130, 200);
  Card card = load_card("top_tagging");
  override_length(card, 40);
  const FeaturePipeline pipeline(card);
  const FeatureBlock block = pipeline.evaluate(raw, all_rows(raw));

  const at::Tensor features = block.tensors["features"], points = block.tensors["points"],
                   mask = block.tensors["mask"];
  ASSERT_EQ(features.sizes(), (std::vector<std::int64_t>{130, 40, 7}));
  ASSERT_EQ(points.sizes(), (std::vector<std::int64_t>{130, 40, 2}));
  ASSERT_EQ(mask.sizes(), (std::vector<std::int64_t>{130, 40}));
  const float* value = features.const_data_ptr<float>();
  const float* point = points.const_data_ptr<float>();
  const bool* real = mask.const_data_ptr<bool>();
  std::int64_t truncated = 0;
  for (std::size_t row = 0; row < 130; ++row) {
    const std::size_t count = row % 61;
    truncated += count > 40;
    double jet[4] = {0, 0, 0, 0};
    for (std::size_t slot = 0; slot < count; ++slot) {
      const std::size_t i = row * 200 + slot;
      jet[0] += raw.particle.at("e")[i];
      jet[1] += raw.particle.at("px")[i];
      jet[2] += raw.particle.at("py")[i];
      jet[3] += raw.particle.at("pz")[i];
    }
    for (std::size_t slot = 0; slot < 40; ++slot, value += 7, point += 2, ++real) {
      EXPECT_EQ(*real, slot < count) << "row " << row << " slot " << slot;
      if (slot >= count) {
        for (std::size_t f = 0; f < 7; ++f) EXPECT_EQ(value[f], 0.0f);
        EXPECT_EQ(point[0], 0.0f);
        EXPECT_EQ(point[1], 0.0f);
        continue;
      }
      const std::size_t i = row * 200 + slot;
      const auto expected =
          reference_kinematics(raw.particle.at("e")[i], raw.particle.at("px")[i], raw.particle.at("py")[i],
                               raw.particle.at("pz")[i], jet[0], jet[1], jet[2], jet[3]);
      for (std::size_t f = 0; f < 7; ++f)
        EXPECT_NEAR(value[f], expected[f], 4e-6) << "row " << row << " feature " << f;
      EXPECT_EQ(point[0], value[5]);
      EXPECT_EQ(point[1], value[6]);
    }
  }
  EXPECT_EQ(block.counts.truncated, truncated);
  EXPECT_EQ(block.counts.selected, 130);
  EXPECT_THAT(block.counts.per_class, ElementsAre(65, 65));
}

/// Three jets of two columns per particle, four slots each; jet columns pt and kind.
RawColumns small_block() {
  RawColumns raw;
  raw.rows = 3;
  raw.slots = 4;
  raw.first_row = 100;
  raw.file = "small.h5";
  raw.jet["pt"] = {10, 20, 30};
  raw.jet["kind"] = {0, 1, 0};
  raw.particle["pt"] = {1, 2, 3, 0, 0, 0, 0, 0, 5, 0, 7, 6};
  raw.particle["x"] = {1, 1, 1, 9, 9, 9, 9, 9, 2, 9, 2, 2};
  return raw;
}

Card small_card(std::string_view extra = "") {
  return parse_card(R"toml(card = 1
[[read.jet]]
from = "jets"
columns = ["pt", "kind"]
unit = { pt = "MeV" }
[[read.part]]
from = "particles"
columns = ["pt", "x"]
[particles]
mask = "part.pt > 0"
length = 3
[inputs]
features = ["part.pt", "part.x"]
)toml" + std::string(extra),
                    "small");
}

/// A small card with labels.
Card labelled_card(std::string_view extra = "") {
  std::string text = "[label]\nof = \"jet.kind\"\nclasses = [[\"a\", 0], [\"b\", 1]]\n";
  text += extra;
  return small_card(text);
}

std::vector<float> floats(const at::Tensor& tensor) {
  const float* data = tensor.const_data_ptr<float>();
  return {data, data + tensor.numel()};
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class Function>
std::string error_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(FeaturePipelineTest, RealParticlesComeFirstAndTheRestIsZero) {
  const FeatureBlock block =
      FeaturePipeline(small_card()).evaluate(small_block(), std::vector<std::int64_t>{0, 1, 2});
  EXPECT_THAT(floats(block.tensors["features"]),
              ElementsAre(1, 1, 2, 1, 3, 1, /**/ 0, 0, 0, 0, 0, 0, /**/ 5, 2, 7, 2, 6, 2));
  const bool* mask = block.tensors["mask"].const_data_ptr<bool>();
  EXPECT_THAT(std::vector<bool>(mask, mask + 9),
              ElementsAre(true, true, true, false, false, false, true, true, true));
  EXPECT_EQ(block.counts.truncated, 0);
  EXPECT_FALSE(block.tensors.contains("label"));
  EXPECT_FALSE(block.tensors.contains("weight"));
}

TEST(FeaturePipelineTest, EvaluatesTheRowsAskedForInTheirOrder) {
  const FeatureBlock block =
      FeaturePipeline(labelled_card()).evaluate(small_block(), std::vector<std::int64_t>{2, 0});
  EXPECT_EQ(floats(block.tensors["features"])[0], 5);
  const std::int64_t* label = block.tensors["label"].const_data_ptr<std::int64_t>();
  EXPECT_THAT(std::vector<std::int64_t>(label, label + 2), ElementsAre(0, 0));
  EXPECT_THAT(block.kept_rows, ElementsAre(2, 0));
}

TEST(FeaturePipelineTest, TruncationKeepsLeadingParticlesButSumsRunOverAll) {
  Card card =
      small_card("[define]\njet.sum = \"sum(part.pt)\"\n[output]\nobservers = [\"jet.sum\", \"jet.pt\"]\n");
  override_length(card, 2);
  const FeatureBlock block =
      FeaturePipeline(card).evaluate(small_block(), std::vector<std::int64_t>{0, 1, 2});
  EXPECT_THAT(floats(block.tensors["features"]), ElementsAre(1, 1, 2, 1, /**/ 0, 0, 0, 0, /**/ 5, 2, 7, 2));
  EXPECT_EQ(block.counts.truncated, 2);
  const double* sums = block.tensors["observer.jet.sum"].const_data_ptr<double>();
  EXPECT_THAT(std::vector<double>(sums, sums + 3), ElementsAre(6, 0, 18));
  const double* pt = block.tensors["observer.jet.pt"].const_data_ptr<double>();
  EXPECT_THAT(std::vector<double>(pt, pt + 3), ElementsAre(0.010, 0.020, 0.030));  // MeV became GeV
}

TEST(FeaturePipelineTest, SortsByPtBeforeTruncation) {
  Card card = small_card();
  card.sort_by_pt = true;
  override_length(card, 2);
  const FeatureBlock block = FeaturePipeline(card).evaluate(small_block(), std::vector<std::int64_t>{0, 2});
  EXPECT_THAT(floats(block.tensors["features"]), ElementsAre(3, 1, 2, 1, /**/ 7, 2, 6, 2));
}

TEST(FeaturePipelineTest, JetQuantitiesAndConstantsMayBeInputs) {
  Card card = small_card();
  card.inputs = {{"extra", {{"jet.pt * 1000"}, {"2 + 1"}, {"part.pt * jet.pt", false, 0, 1, -0.05, 0.05}}}};
  const FeatureBlock block = FeaturePipeline(card).evaluate(small_block(), std::vector<std::int64_t>{2});
  EXPECT_THAT(floats(block.tensors["extra"]), ElementsAre(30, 3, 0.05f, 30, 3, 0.05f, 30, 3, 0.05f));
}

RowSelection selection_of(const Card& card, const RawColumns& raw) {
  RowSelection selection;
  FeaturePipeline(card).select_rows(raw, selection);
  return selection;
}

TEST(FeaturePipelineTest, SelectionAndLabelsDecideWhichRowsAreKept) {
  const Card card = labelled_card("[select]\njets = \"jet.pt > 0.015\"\n[split]\nby = \"jet.kind + 7\"\n");
  const RowSelection selection = selection_of(card, small_block());
  EXPECT_THAT(selection.kept, ElementsAre(1, 2));
  EXPECT_THAT(selection.labels, ElementsAre(1, 0));
  EXPECT_THAT(selection.keys, ElementsAre(8, 7));
  EXPECT_THAT(selection.weights, IsEmpty());
  EXPECT_EQ(selection.counts.rows, 3);
  EXPECT_EQ(selection.counts.selected, 2);
  EXPECT_EQ(selection.counts.not_selected, 1);
  EXPECT_THAT(selection.counts.per_class, ElementsAre(1, 1));
  EXPECT_THAT(FeaturePipeline(card).selection_columns(), ElementsAre("jet.kind", "jet.pt"));
}

TEST(FeaturePipelineTest, SelectionMayUseSumsOverParticles) {
  const Card card = small_card("[select]\njets = \"sum(part.x) > 4\"\n");
  EXPECT_THAT(selection_of(card, small_block()).kept, ElementsAre(2));  // 9s at padding do not count
  EXPECT_THAT(FeaturePipeline(card).selection_columns(), ElementsAre("part.pt", "part.x"));
}

TEST(FeaturePipelineTest, UnknownLabelsAreCountedAndTheLinesToPasteShown) {
  RawColumns raw = small_block();
  raw.jet["kind"] = {5, 1, 5};
  const FeaturePipeline strict(labelled_card());
  const RowSelection selection = selection_of(labelled_card(), raw);
  EXPECT_THAT(selection.kept, ElementsAre(1));
  const std::string error = error_of([&] { strict.require_known(selection.unknown); });
  EXPECT_THAT(error, HasSubstr("5 (2 jets, the first: small.h5, row 100)"));
  EXPECT_THAT(error, HasSubstr("others = \"drop\""));
  EXPECT_THAT(error, HasSubstr("classes = [[\"a\", 0], [\"b\", 1], [\"other\", 5]]"));

  const RowSelection dropped = selection_of(labelled_card("others = \"drop\"\n"), raw);
  EXPECT_THAT(dropped.kept, ElementsAre(1));
  EXPECT_EQ(dropped.counts.other_labels, 2);
  EXPECT_TRUE(dropped.unknown.empty());
  strict.require_known(dropped.unknown);
  const FeatureBlock block = strict.evaluate(raw, std::vector<std::int64_t>{0, 1});
  EXPECT_EQ(block.tensors["label"].const_data_ptr<std::int64_t>()[0], -1);
  EXPECT_EQ(block.counts.unlabelled, 1);
}

TEST(FeaturePipelineTest, NanAndInfinityAsLabelsAreNamedAndCountedOverAllBlocks) {
  RawColumns first = small_block(), second = small_block();
  second.first_row = 200;
  first.jet["kind"] = {kNan, 1, kInfinity};
  second.jet["kind"] = {0, kNan, -kInfinity};
  UnknownLabels all = selection_of(labelled_card(), first).unknown;
  all.merge(selection_of(labelled_card(), second).unknown);
  EXPECT_EQ(all.total(), 4);
  const std::string error = error_of([&] { FeaturePipeline(labelled_card()).require_known(all); });
  EXPECT_THAT(
      error,
      HasSubstr("jet.kind has values outside the classes: NaN (2 jets, the first: small.h5, row 100)"));
  EXPECT_THAT(error, HasSubstr("-inf (1 jets, the first: small.h5, row 202)"));
  EXPECT_THAT(error, HasSubstr("inf (1 jets, the first: small.h5, row 102)"));
  EXPECT_THAT(error, Not(HasSubstr("\"other\"")));  // no class can be made of them

  const RowSelection dropped = selection_of(labelled_card("others = \"drop\"\n"), first);
  EXPECT_EQ(dropped.counts.not_finite, 2);
  EXPECT_EQ(dropped.counts.other_labels, 0);
}

TEST(FeaturePipelineTest, AColumnThatIsNoLabelDoesNotFloodTheMessage) {
  RawColumns raw = small_block();
  raw.rows = 500;
  raw.jet["pt"].assign(500, 1);
  raw.jet["kind"].resize(500);
  for (std::size_t row = 0; row < 500; ++row) raw.jet["kind"][row] = 10.5 + static_cast<double>(row);
  const UnknownLabels unknown = selection_of(labelled_card(), raw).unknown;
  EXPECT_EQ(unknown.total(), 500);
  EXPECT_LT(unknown.values().size(), 100U);
  EXPECT_THAT(error_of([&] { FeaturePipeline(labelled_card()).require_known(unknown); }),
              HasSubstr("... (500 jets in all)"));
}

TEST(FeaturePipelineTest, FilesWithoutLabelsAreUnlabelled) {
  RawColumns raw = small_block();
  raw.jet.erase("kind");
  const FeaturePipeline pipeline(labelled_card());
  EXPECT_THAT(pipeline.optional_columns(), ElementsAre("jet.kind"));
  const RowSelection selection = selection_of(labelled_card(), raw);
  EXPECT_THAT(selection.kept, ElementsAre(0, 1, 2));
  EXPECT_THAT(selection.labels, ElementsAre(-1, -1, -1));
  EXPECT_EQ(selection.counts.unlabelled, 3);
  EXPECT_THAT(selection.keys, IsEmpty());
  EXPECT_EQ(pipeline.evaluate(raw, selection.kept).tensors["label"].const_data_ptr<std::int64_t>()[2], -1);
}

TEST(FeaturePipelineTest, WeightsAreSampleTimesClass) {
  Card card = labelled_card("[weights]\nclass = [1.0, 3.0]\nsample = \"jet.pt * 100\"\n");
  const FeatureBlock block =
      FeaturePipeline(card).evaluate(small_block(), std::vector<std::int64_t>{0, 1, 2});
  EXPECT_THAT(floats(block.tensors["weight"]), ElementsAre(1, 6, 3));
  card.weight_factor = 0.5;
  EXPECT_THAT(floats(FeaturePipeline(card)
                         .evaluate(small_block(), std::vector<std::int64_t>{0, 1, 2})
                         .tensors["weight"]),
              ElementsAre(0.5, 3, 1.5));
}

TEST(FeaturePipelineTest, TheFactorOfWeightsWorksBeforeTheyBecomeFloats) {
  for (const double scale : {1e-300, 1e-30, 1e30, 1e300}) {
    Card card = labelled_card("[weights]\nsample = \"jet.pt\"\n");
    RawColumns raw = small_block();
    raw.jet["pt"] = {-10e3 * scale, 20e3 * scale, 0};  // MeV
    card.weight_factor = 1 / scale;
    const std::vector<double> weights = selection_of(card, raw).weights;
    ASSERT_EQ(weights.size(), 3U);
    EXPECT_DOUBLE_EQ(weights[0], -10 * scale);
    EXPECT_DOUBLE_EQ(weights[1], 20 * scale);
    EXPECT_THAT(
        floats(FeaturePipeline(card).evaluate(raw, std::vector<std::int64_t>{0, 1, 2}).tensors["weight"]),
        ElementsAre(-10, 20, 0));
  }
}

TEST(FeaturePipelineTest, WeightsBeyondTheRangeOfFloatsAreNamed) {
  Card card = labelled_card("[weights]\nsample = \"jet.pt\"\n");
  card.weight_factor = 1e41;
  EXPECT_THAT(error_of([&] { FeaturePipeline(card).evaluate(small_block(), std::vector<std::int64_t>{0}); }),
              HasSubstr("small.h5, row 100: the weight \"jet.pt\" is inf"));
}

constexpr std::string_view kTargets = R"toml([targets]
energy = "1000 * jet.pt"
logarithm = "log(jet.pt - 0.010)"
ht = "sum(part.pt)"
)toml";

TEST(FeaturePipelineTest, TargetsAskedForAreTensorsOfTheBatch) {
  const Card card = small_card(kTargets);
  const FeaturePipeline pipeline(card, {"ht", "energy"});
  const FeatureBlock block = pipeline.evaluate(small_block(), std::vector<std::int64_t>{2, 0});
  EXPECT_THAT(floats(block.tensors["energy"]), ElementsAre(30, 10)) << "units are converted before";
  EXPECT_THAT(floats(block.tensors["ht"]), ElementsAre(18, 6)) << "over all real particles";
  EXPECT_FALSE(block.tensors.contains("logarithm")) << "nobody asked for it";
  RowSelection selection;
  pipeline.select_rows(small_block(), selection);
  ASSERT_EQ(selection.targets.size(), 2U);
  EXPECT_THAT(selection.targets[0], ElementsAre(6, 0, 18));
  EXPECT_THAT(error_of([&] { FeaturePipeline(card, {"hat"}); }), HasSubstr("did you mean 'ht'?"));
}

TEST(FeaturePipelineTest, ColumnsOfTargetsAreOptionalWhereTheyAreAskedFor) {
  const Card card = small_card("[targets]\nenergy = \"jet.kind\"\n");
  EXPECT_THAT(FeaturePipeline(card).required_columns(), Not(::testing::Contains("jet.kind")));
  const FeaturePipeline pipeline(card, {"energy"});
  EXPECT_THAT(pipeline.required_columns(), ::testing::Contains("jet.kind"));
  EXPECT_THAT(pipeline.optional_columns(), ElementsAre("jet.kind"));
  RawColumns raw = small_block();
  raw.jet.erase("kind");
  EXPECT_TRUE(
      std::isnan(floats(pipeline.evaluate(raw, std::vector<std::int64_t>{1}).tensors["energy"]).front()));
  RowSelection selection;
  pipeline.select_rows(raw, selection);
  EXPECT_THAT(selection.targets.at(0), IsEmpty());
}

TEST(FeaturePipelineTest, TargetsThatAreNotFiniteAreCountedWithTheirPlaceOrDropped) {
  Card card = labelled_card(std::string("[weights]\nsample = \"jet.pt\"\n") + std::string(kTargets));
  RawColumns raw = small_block();
  const auto selected = [&](const std::string& target) {
    RowSelection selection;
    FeaturePipeline(card, {"energy", target}).select_rows(raw, selection);
    return selection;
  };
  EXPECT_THAT(error_of([&] { selected("logarithm"); }),
              testing::AllOf(HasSubstr("small.h5, row 100: the target 'logarithm' \"log(jet.pt - 0.010)\" is "
                                       "-inf (1 of the 3 rows read together have such values)"),
                             HasSubstr("not_finite = \"drop\"")));
  card.drop_not_finite = true;
  const RowSelection selection = selected("logarithm");
  EXPECT_THAT(selection.kept, ElementsAre(1, 2));
  EXPECT_THAT(selection.labels, ElementsAre(1, 0));
  EXPECT_THAT(selection.weights, ElementsAre(0.020, 0.030));
  EXPECT_THAT(selection.targets[0], ElementsAre(20, 30));
  EXPECT_EQ(selection.targets[1].size(), 2U);
  EXPECT_EQ(selection.counts.not_finite, 1);
  card.drop_not_finite = false;
  card.sample_weight.clear();
  raw.jet["pt"][2] = kNan;
  EXPECT_THAT(error_of([&] { selected("ht"); }),
              HasSubstr("row 102: jet.pt, which the target 'energy' \"1000 * jet.pt\" reads, is NaN"));
  raw.jet["pt"][2] = 1e39;
  EXPECT_THAT(error_of([&] { selected("ht"); }), HasSubstr("is 1e+39")) << "beyond single precision";
}

TEST(FeaturePipelineTest, NanInPaddingIsNoErrorInRealEntriesItIs) {
  RawColumns raw = small_block();
  for (const std::size_t padded : {3u, 4u, 5u})
    raw.particle["x"][padded] = std::numeric_limits<float>::quiet_NaN();
  const FeaturePipeline pipeline(small_card());
  EXPECT_EQ(floats(pipeline.evaluate(raw, std::vector<std::int64_t>{0, 1, 2}).tensors["features"])[1], 1);

  raw.particle["x"][10] = std::numeric_limits<float>::quiet_NaN();
  const std::string error = error_of([&] { pipeline.evaluate(raw, std::vector<std::int64_t>{1, 2}); });
  EXPECT_THAT(error, HasSubstr("small.h5, row 102, particle 2: part.x is NaN (1 of the 2 rows"));
  EXPECT_THAT(error, HasSubstr("nan = 0.0"));

  Card mending = small_card();
  mending.nan = -1;
  const FeatureBlock block = FeaturePipeline(mending).evaluate(raw, std::vector<std::int64_t>{1, 2});
  EXPECT_THAT(floats(block.tensors["features"]), ElementsAre(0, 0, 0, 0, 0, 0, /**/ 5, 2, 7, -1, 6, 2));
  EXPECT_THAT(block.replaced, ElementsAre(0, 1));
}

TEST(FeaturePipelineTest, NamesMissingColumns) {
  RawColumns raw = small_block();
  raw.particle["pt_"] = raw.particle["pt"];
  raw.particle.erase("pt");
  EXPECT_THAT(error_of([&] { FeaturePipeline(small_card()).evaluate(raw, std::vector<std::int64_t>{0}); }),
              HasSubstr("part.pt (did you mean pt_?)"));
  raw.particle["pt"] = {1, 2, 3};
  EXPECT_THAT(error_of([&] { FeaturePipeline(small_card()).evaluate(raw, std::vector<std::int64_t>{0}); }),
              HasSubstr("3 values instead of 12"));
  EXPECT_THAT(
      error_of([&] { FeaturePipeline(small_card()).evaluate(small_block(), std::vector<std::int64_t>{3}); }),
      HasSubstr("row 3"));
}

TEST(FeaturePipelineTest, QuarkGluonKindsOfParticles) {
  RawColumns raw;
  raw.rows = 1;
  raw.slots = 10;
  raw.file = "qg.h5";
  raw.jet["is_quark"] = {1};
  raw.particle["pdgid"] = {211, -211, 321, -2212, 130, 2112, 22, 11, -13, 0};
  raw.particle["pt"] = {90, 80, 70, 60, 50, 40, 30, 20, 10, 0};
  raw.particle["eta"] = {0.1f, 0.2f, 0.3f, 0.1f, 0.2f, 0.3f, 0.1f, 0.2f, 0.3f, 0};
  raw.particle["phi"] = {3.1f, -3.1f, 3.0f, -3.0f, 3.1f, -3.1f, 3.1f, 3.1f, 3.1f, 0};
  Card card = load_card("quark_gluon");
  override_length(card, 12);
  const FeatureBlock block = FeaturePipeline(card).evaluate(raw, std::vector<std::int64_t>{0});
  const std::vector<float> values = floats(block.tensors["features"]);
  const float expected[9][6] = {{1, 1, 0, 0, 0, 0},  {-1, 1, 0, 0, 0, 0}, {1, 1, 0, 0, 0, 0},
                                {-1, 1, 0, 0, 0, 0}, {0, 0, 1, 0, 0, 0},  {0, 0, 1, 0, 0, 0},
                                {0, 0, 0, 1, 0, 0},  {-1, 0, 0, 0, 1, 0}, {1, 0, 0, 0, 0, 1}};
  for (std::size_t particle = 0; particle < 9; ++particle) {
    for (std::size_t i = 0; i < 6; ++i)
      EXPECT_EQ(values[particle * 13 + 5 + i], expected[particle][i]) << particle << " " << i;
    EXPECT_LT(std::abs(values[particle * 13 + 12]), 0.3f);  // dphi is wrapped: the jet lies at phi = pi
  }
}

TEST(FeaturePipelineTest, JetNetEnergiesComeFromPtEtaAndMass) {
  RawColumns raw;
  raw.rows = 1;
  raw.slots = 2;
  raw.file = "jetnet.h5";
  raw.jet["pt"] = {800};
  raw.jet["eta"] = {-1.5};
  raw.jet["mass"] = {170};
  raw.jet["n"] = {1};
  raw.particle["etarel"] = {0.25f, 0};
  raw.particle["phirel"] = {-0.1f, 0};
  raw.particle["ptrel"] = {0.5f, 0};
  raw.particle["mask"] = {1, 0};
  const FeatureBlock block = FeaturePipeline(load_card("jetnet")).evaluate(raw, std::vector<std::int64_t>{0});
  const std::vector<float> values = floats(block.tensors["features"]);
  const double part_e = 400 * std::cosh(-1.25),
               jet_e = std::sqrt(std::pow(800 * std::cosh(1.5), 2) + 170.0 * 170.0);
  EXPECT_NEAR(values[1], clip(std::log(part_e), 2.0, 0.7), 1e-6);
  EXPECT_NEAR(values[3], clip(std::log(part_e / jet_e), -4.7, 0.7), 1e-6);
  EXPECT_NEAR(values[5], -0.25, 1e-6);  // folded by the sign of the jet's eta
  EXPECT_NEAR(values[6], -0.1, 1e-6);
}

TEST(FeaturePipelineTest, ThreadsAndGroupingDoNotMatter) {
  const RawColumns raw = make_top_tagging_block(400, 200);
  const FeaturePipeline pipeline(load_card("top_tagging"));
  const std::vector<float> whole = floats(pipeline.evaluate(raw, all_rows(raw)).tensors["features"]);
  const std::size_t row_size = 128 * 7;
  std::vector<int> differences(4, 0);
  {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::int64_t row = static_cast<std::int64_t>(thread); row < 400; row += 4) {
          const std::vector<float> one =
              floats(pipeline.evaluate(raw, std::vector<std::int64_t>{row}).tensors["features"]);
          const auto expected = whole.begin() + row * static_cast<std::ptrdiff_t>(row_size);
          if (!std::equal(one.begin(), one.end(), expected)) ++differences[thread];
        }
      });
    }
  }
  EXPECT_THAT(differences, ElementsAre(0, 0, 0, 0));
}

TEST(FeaturePipelineTest, EmptyBlocksGiveEmptyTensors) {
  const FeatureBlock block = FeaturePipeline(labelled_card()).evaluate(small_block(), {});
  EXPECT_EQ(block.tensors["features"].size(0), 0);
  EXPECT_EQ(block.tensors["label"].size(0), 0);
}

}  // namespace
}  // namespace bunchtrain::features
