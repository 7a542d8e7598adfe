// SPDX-License-Identifier: Apache-2.0
// Results as parts of a page, today's and those of version 0.1.

#include "bunchtrain/metrics/result_sections.hpp"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/metrics/detail/old_curves.hpp"

namespace bunchtrain::metrics {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ClassificationResult random_result(std::vector<std::string> classes, std::int64_t samples = 2'000) {
  const CounterRandom random(7, 1);
  const auto count = static_cast<std::int64_t>(classes.size());
  std::vector<double> logits;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < samples; ++i) {
    labels.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(count), 8 * i)));
    for (std::int64_t c = 0; c < count; ++c)
      logits.push_back(random.normal(8 * i + 1 + c) + (c == labels.back() ? 1.5 : 0.0));
  }
  ClassificationMetrics metrics({.classes = std::move(classes)});
  metrics.add_logits(at::tensor(logits, at::kDouble).view({-1, count}), at::tensor(labels, at::kLong));
  return metrics.compute();
}

std::vector<std::string> titles_of(const std::vector<report::Section>& sections) {
  std::vector<std::string> titles;
  for (const auto& section : sections) titles.push_back(section.title);
  return titles;
}

std::vector<std::string> plots_of(const report::Section& section) {
  std::vector<std::string> titles;
  for (const auto& plot : section.plots) titles.push_back(plot.title);
  return titles;
}

TEST(ResultSectionsTest, AClassifierOfTwoClasses) {
  const auto result = random_result({"qcd", "top"});
  const auto sections = make_sections(result, {.data = "toy.h5", .samples = "jets"});
  for (const auto& section : sections) validate(section);
  ASSERT_THAT(titles_of(sections), ElementsAre("Results", "Performance", "Confusion matrix", "Calibration"));
  EXPECT_THAT(sections[0].paragraphs.at(0), HasSubstr("On toy.h5, 2,000 jets"));
  EXPECT_THAT(sections[0].table.header, ElementsAre("Signal", "Background", "AUC", "1/ε_B at ε_S = 30 %",
                                                    "1/ε_B at ε_S = 50 %", "1/ε_B at ε_S = 70 %"));
  ASSERT_EQ(sections[0].table.rows.size(), 1U);
  EXPECT_EQ(sections[0].table.rows[0].at(0), "top");
  EXPECT_EQ(sections[0].table.rows[0].at(1), "qcd");
  EXPECT_EQ(sections[0].table.rows[0].at(4), to_string(result.rejection(0.5)));
  ASSERT_EQ(sections[0].numbers.size(), 5U);
  EXPECT_EQ(sections[0].numbers[0].label, "AUC");
  EXPECT_THAT(plots_of(sections[1]), ElementsAre("ROC curve", "Background rejection", "Score of top"));
  EXPECT_THAT(sections[1].plots[1].caption, HasSubstr("binomial errors"));
  EXPECT_EQ(sections[2].table.rows.at(1).at(2), to_percent(result.confusion.fractions[1][1]));
  EXPECT_EQ(sections[2].pictures.at(0).pictures.at(0).row_names, result.classes);
  EXPECT_EQ(sections[3].table.rows.size(), 2U) << "the largest score and that of the signal";
}

TEST(ResultSectionsTest, AClassifierOfSeveralClasses) {
  const auto sections = make_sections(random_result({"light", "c", "b"}), {});
  EXPECT_EQ(sections[0].numbers.at(0).label, "Mean AUC");
  EXPECT_EQ(sections[0].numbers.size(), 2U);
  EXPECT_EQ(sections[0].table.rows.size(), 9U);
  EXPECT_THAT(
      plots_of(sections[1]),
      ElementsAre("ROC curve", "Background rejection", "Rejection: signal light", "Rejection: signal c",
                  "Rejection: signal b", "Score of light", "Score of c", "Score of b"));
  EXPECT_EQ(sections[1].plots[0].series[0].label.substr(0, 20), "light vs. all others");
}

TEST(ResultSectionsTest, WhatNeedsMissingSamplesIsLeftOut) {
  ClassificationMetrics metrics({.classes = {"qcd", "top"}});
  EXPECT_THAT(titles_of(make_sections(metrics.compute(), {})), ElementsAre("Results"));
  metrics.add_scores(at::tensor({.3, .7}, at::kDouble).view({1, 2}), at::tensor({1}, at::kLong));
  const auto sections = make_sections(metrics.compute(), {});
  EXPECT_TRUE(sections[0].table.rows.empty());
  EXPECT_THAT(plots_of(sections[1]), ElementsAre("Score of top"));
  EXPECT_EQ(sections[2].table.rows.at(0).at(1), "-");
}

TEST(ResultSectionsTest, AnEfficiencyHasATableAndTwoPlots) {
  const std::vector<double> pt = {1, 2, 3, 4}, scores = {.1, .6, .9, .2};
  const std::vector<std::uint8_t> is_signal = {0, 1, 1, 0};
  const auto section = make_section(efficiency_against(pt, scores, is_signal, {.bins = 2}), "top", "jet.pt");
  validate(section);
  EXPECT_EQ(section.title, "Efficiency for top against jet.pt");
  EXPECT_EQ(section.table.rows.size(), 2U);
  EXPECT_THAT(plots_of(section), ElementsAre("Efficiency", "Efficiency, logarithmic"));
  const auto none = make_section(efficiency_against({}, {}, {}), "top", "jet.pt");
  EXPECT_THAT(none.paragraphs.at(0), HasSubstr("Not drawn"));
}

TEST(ResultSectionsTest, ARegressionHasNumbersHistogramsAndBins) {
  const CounterRandom random(7, 1);
  std::vector<double> estimates, targets, widths;
  for (std::int64_t i = 0; i < 500; ++i) {
    targets.push_back(10 + static_cast<double>(i));
    estimates.push_back(targets.back() + 3 * random.normal(i));
    widths.push_back(3);
  }
  RegressionMetrics metrics({.bins = 4});
  const auto column = [](const std::vector<double>& values) { return at::tensor(values, at::kDouble); };
  metrics.add(column(estimates), column(targets), column(widths));
  const auto result = metrics.compute();
  const auto sections = make_sections(result, {.target = "energy", .unit = "GeV"}, {.data = "x.h5"});
  for (const auto& section : sections) validate(section);
  ASSERT_THAT(titles_of(sections), ElementsAre("Regression", "Bias and resolution against energy"));
  EXPECT_THAT(sections[0].paragraphs.at(0), HasSubstr("estimate - energy [GeV]"));
  EXPECT_EQ(sections[0].numbers.at(0).value, to_string(result.summary.half_width_68));
  EXPECT_THAT(plots_of(sections[0]), ElementsAre("Residuals", "Pulls"));
  EXPECT_EQ(sections[1].table.rows.size(), 4U);
  EXPECT_THAT(plots_of(sections[1]), ElementsAre("Bias", "Resolution"));
  const auto relative = make_sections(result, {.target = "energy", .unit = "GeV", .relative = true}, {});
  EXPECT_EQ(relative[0].plots.at(0).x.label, "(estimate - energy) / energy");
}

class OldCurvesTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(file_); }
  void write(std::string text) const { std::ofstream(file_) << text; }
  std::string fault_of(std::string text) const {
    write(std::move(text));
    try {
      read_old_curves(file_, "jets");
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(file_.string()));
      return error.what();
    }
    return "none";
  }
  static std::string replaced(std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
  }

  const std::filesystem::path file_ = std::filesystem::path(testing::TempDir()) / "old_curves.json";
  /// As version 0.1 wrote it.
  const std::string text_ = R"({
 "curves made by": "bunchtrain", "data": "validation", "epoch": 2, "step": 200, "samples": 6000,
 "loss": 0.15, "accuracy": 0.94, "auc": 0.985, "classes": ["qcd", "top"], "class_counts": [3001, 2999],
 "roc_curves": [{"signal": "top", "background": "qcd", "auc": 0.985,
   "signal_efficiency": [0.0, 0.3, 0.5, 0.9, 1.0], "background_efficiency": [0.0, 0.001, 0.003, 0.06, 1.0],
   "rejections": [{"signal_efficiency": 0.3, "rejection": 3001.0, "error": null, "is_lower_limit": true},
                  {"signal_efficiency": 0.5, "rejection": 333.3, "error": 111.1, "is_lower_limit": false}]}],
 "histograms": [{"score": "top", "classes": ["qcd", "top"], "counts": [[2000, 900, 101], [99, 900, 2000]]}]
})";
};

TEST_F(OldCurvesTest, HaveTheSectionsOfToday) {
  write(text_);
  EXPECT_TRUE(is_old_curves_file(file_));
  const auto sections = read_old_curves(file_, "jets");
  for (const auto& section : sections) validate(section);
  ASSERT_THAT(titles_of(sections), ElementsAre("Results", "Performance"));
  EXPECT_THAT(
      sections[0].paragraphs,
      ElementsAre("On validation, 6,000 jets: 3,001 qcd, 2,999 top; loss 0.15000.", "After epoch 2."));
  EXPECT_THAT(sections[0].table.rows.at(0), ElementsAre("top", "qcd", "0.98500", "> 3001", "333.3 ± 111.1"));
  EXPECT_EQ(sections[0].numbers.at(0).value, "0.9850");
  EXPECT_THAT(plots_of(sections[1]), ElementsAre("ROC curve", "Background rejection", "Score of top"));
  EXPECT_THAT(sections[1].plots[0].series[0].x, ElementsAre(0, 0.001, 0.003, 0.06, 1));
}

TEST_F(OldCurvesTest, SayWhatIsDamaged) {
  EXPECT_THAT(fault_of("{\"name\": "), HasSubstr("is not a file of curves"));
  EXPECT_FALSE(is_old_curves_file(file_));
  EXPECT_THAT(fault_of(replaced(text_, "[0.0, 0.3, 0.5, 0.9, 1.0]", "[0.0]")), HasSubstr("differ in length"));
  EXPECT_THAT(fault_of(replaced(text_, "[[2000, 900, 101], [99, 900, 2000]]", "[[1]]")),
              HasSubstr("one list of counts per class"));
  EXPECT_THAT(fault_of(replaced(text_, "\"signal\": \"top\"", "\"signal\": \"w\"")),
              HasSubstr("no class \"w\""));
}

}  // namespace
}  // namespace bunchtrain::metrics
