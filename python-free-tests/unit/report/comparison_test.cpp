// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/comparison.hpp"

#include <gmock/gmock.h>

#include "bunchtrain/core/error.hpp"
#include "support/markup_checker.hpp"

namespace bunchtrain::report {
namespace {

using testing::ElementsAre;

ComparedRun make_run(std::string name, double rate, int epochs) {
  ComparedRun run{.name = std::move(name)};
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    EpochRow row{
        .epoch = epoch, .epochs = epochs, .step = 10 * epoch, .seconds = 30, .train_loss = rate / epoch};
    row.metrics = {{"valid_auc", 0.9 + 0.01 * epoch}};
    run.report.epochs.push_back(row);
  }
  run.report.summary = {{"Model", "lite"}};
  run.report.configuration = "# written by hand\nlearning-rate = " + std::to_string(rate) + "\nbatch = 32\n";
  run.report.sections = {{.title = "Results", .numbers = {{"AUC", "0.93"}}}};
  return run;
}

std::vector<std::string> row_of(const SectionTable& table, const std::string& key) {
  for (const auto& row : table.rows)
    if (row.at(0) == key) return row;
  return {"no row " + key};
}

TEST(ComparisonTest, ShowsRunsSideBySideAndOverEachOther) {
  const Page page = compare_runs({make_run("a", 0.5, 2), make_run("b", 0.25, 3)});
  ASSERT_EQ(page.sections.size(), 3U);
  for (const Section& section : page.sections) validate(section);
  const SectionTable& results = page.sections[0].table;
  EXPECT_THAT(results.header, ElementsAre("", "a", "b"));
  EXPECT_THAT(row_of(results, "AUC"), ElementsAre("AUC", "0.93", "0.93"));
  EXPECT_THAT(row_of(results, "valid_auc"), ElementsAre("no row valid_auc")) << "it is there already";
  EXPECT_THAT(row_of(results, "training loss"), ElementsAre("training loss", "0.25", "0.083333"));
  EXPECT_THAT(row_of(results, "time"), ElementsAre("time", "1:00", "1:30"));
  const auto& plots = page.sections[1].plots;
  ASSERT_EQ(plots.size(), 2U) << "no validation loss is known";
  EXPECT_EQ(plots[0].title, "Training loss");
  EXPECT_EQ(plots[1].title, "AUC");
  EXPECT_EQ(plots[1].series.at(1).label, "b");
  EXPECT_EQ(plots[1].series.at(1).y.size(), 3U);
  const SectionTable& settings = page.sections[2].table;
  ASSERT_EQ(settings.rows.size(), 1U) << "batch and model are the same";
  EXPECT_THAT(settings.rows[0], ElementsAre("learning-rate", "0.500000", "0.250000"));
  EXPECT_EQ(test::markup_fault(render_html(page)), "");
}

TEST(ComparisonTest, WhatOneRunLacksIsADash) {
  ComparedRun other = make_run("b", 0.5, 2);
  other.report.epochs.clear();
  other.report.sections.clear();
  other.report.configuration = "{\n  \"learning-rate\": 0.1,\n  \"ema\": 0.9\n}";
  const Page page = compare_runs({make_run("a", 0.5, 2), other});
  EXPECT_THAT(row_of(page.sections[0].table, "AUC"), ElementsAre("AUC", "0.93", "–"));
  EXPECT_THAT(row_of(page.sections[2].table, "ema"), ElementsAre("ema", "–", "0.9"));
  EXPECT_THAT(row_of(page.sections[2].table, "learning-rate"),
              ElementsAre("learning-rate", "0.500000", "0.1"));
}

TEST(ComparisonTest, EqualSettingsAreSaidToBe) {
  const Page page = compare_runs({make_run("a", 0.5, 2), make_run("b", 0.5, 2)});
  EXPECT_THAT(page.sections[2].paragraphs, ElementsAre("None."));
}

TEST(ComparisonTest, RefusesRunsThatCannotBeToldApart) {
  EXPECT_THROW(compare_runs({make_run("a", 0.5, 2)}), ConfigError);
  EXPECT_THROW(compare_runs({make_run("a", 0.5, 2), make_run("a", 0.1, 2)}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::report
