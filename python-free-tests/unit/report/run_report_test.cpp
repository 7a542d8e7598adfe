// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/run_report.hpp"

#include <gmock/gmock.h>

#include <limits>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/report/jsonl_writer.hpp"
#include "bunchtrain/report/run_records.hpp"
#include "support/markup_checker.hpp"
#include "temporary_folder.hpp"

namespace bunchtrain::report {
namespace {

using testing::HasSubstr;
using testing::Not;

/// The results of a classifier as a validation leaves them.
std::vector<Section> make_results() {
  Section results{.title = "Results", .paragraphs = {"On validation, 6,000 jets: 3,001 qcd, 2,999 top."}};
  results.table = {.header = {"Signal", "1/ε_B at ε_S = 30 %"}, .rows = {{"top", "> 3001"}}};
  results.numbers = {{"AUC", "0.9850"}, {"1/ε_B at ε_S = 50 %", "333.3 ± 111.1"}, {"Nothing", "-"}};
  Section performance{.title = "Performance"};
  performance.plots = {{.title = "ROC curve", .series = {{.x = {0, 1}, .y = {0, 1}}}, .caption = "Exact."}};
  return {results, performance};
}

std::filesystem::path render_run(const std::filesystem::path& folder) {
  const auto path = folder / "report.html";
  write_file_atomically(path, render_html(read_run(folder)));
  return path;
}

class RunReportTest : public TemporaryFolder {
 protected:
  void write_metrics() const {
    JsonlWriter writer(folder_ / "metrics.jsonl");
    for (int epoch = 1; epoch <= 3; ++epoch) {
      for (int i = 0; i < 10; ++i) {
        writer.append({{"kind", "step"},
                       {"step", std::int64_t{(epoch - 1) * 10 + i + 1}},
                       {"loss", 1.0 / (epoch + i)},
                       {"learning_rate", 1e-3}});
      }
      EpochRow row{.epoch = epoch,
                   .epochs = 3,
                   .step = epoch * 10,
                   .seconds = 12,
                   .train_loss = 0.5 / epoch,
                   .valid_loss = 0.6 / epoch};
      row.learning_rate = 1e-3;
      row.samples_per_second = 12'400;
      row.split = {0.001, 0.02, 0.04, 0.002, 0.001};
      row.loader.wait_p50 = 1e-4;
      row.loader.wait_p99 = 2e-3 * epoch;
      row.loader.slowest_stage = "decoding";
      row.metrics = {{"valid_accuracy", 0.9 + 0.01 * epoch}, {"valid_auc", 0.95 + 0.01 * epoch}};
      writer.append(make_record(row));
    }
  }
};

TEST_F(RunReportTest, ShowsEverythingThatTheFolderHolds) {
  write_metrics();
  write(
      "run.json",
      R"({"name": "top <tagging>", "started": "today", "machine": "2 cores", "summary": {"Parameters": "26,416"},
    "environment": {"LibTorch": "2.11.0", "seeds": {"run": 7}}, "configuration": "epochs = 3", "card": "[inputs]", "extra": [1]})");
  write_sections(folder_ / "sections.json", make_results());
  EXPECT_EQ(render_run(folder_), folder_ / "report.html");
  const std::string html = read("report.html");
  EXPECT_EQ(test::markup_fault(html), "");
  for (const char* part :
       {"top &lt;tagging&gt;", "today · 2 cores", "26,416", "seeds.run", "2.11.0", "epochs = 3", "[inputs]",
        "<dt>AUC</dt><dd>0.9850", "&gt; 3001",
        "<dt>1/ε<sub>B</sub> at ε<sub>S</sub> = 50 %</dt><dd>333.3 ± 111.1",
        "<th class=\"number\">1/ε<sub>B</sub> at", "ROC curve", "Exact.", "Where a step spends its time",
        "Waiting for data", "most work in decoding", "Learning rate", "12.4k", "2,999 top"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  EXPECT_THAT(html, Not(HasSubstr("Nothing"))) << "a number without a value";
  EXPECT_THAT(html, Not(HasSubstr("<dt>Auc"))) << "the sections' numbers stand for the metrics";
}

TEST_F(RunReportTest, NeedsNothingFromOutside) {
  write_metrics();
  write_sections(folder_ / "sections.json", make_results());
  render_run(folder_);
  std::string html = read("report.html");
  const std::string name_space = "http://www.w3.org/2000/svg";
  for (std::size_t at; (at = html.find(name_space)) != std::string::npos;) html.erase(at, name_space.size());
  for (const char* outside : {"http:", "https:", "src=", "href=", "@import", "url(", "<script ", "import("})
    EXPECT_THAT(html, Not(HasSubstr(outside)));
}

TEST_F(RunReportTest, PlotsCarryWhatTheScriptShows) {
  write_sections(folder_ / "sections.json", make_results());
  write("run.json", "{}");
  render_run(folder_);
  const std::string html = read("report.html");
  EXPECT_EQ(test::markup_fault(html), "");
  EXPECT_THAT(html, HasSubstr("class=\"bt-data\" data-x=\""));
  EXPECT_THAT(html, HasSubstr(" linear\""));
  EXPECT_THAT(html, HasSubstr("data-name=\"\""));
  const auto begin = html.find("<script>"), end = html.find("</script>");
  ASSERT_NE(begin, std::string::npos);
  EXPECT_EQ(html.find_first_of("<&", begin + 8), end) << "a reader of XML takes the page";
  EXPECT_EQ(html.find("<script", begin + 1), std::string::npos);
}

TEST_F(RunReportTest, LinesThatAreNoRecordsAreCountedOnThePage) {
  write_metrics();
  write("metrics.jsonl", read("metrics.jsonl") + "rubbish\n");
  const TrainingReport report = read_run(folder_);
  EXPECT_EQ(report.epochs.size(), 3U);
  ASSERT_FALSE(report.environment.empty());
  EXPECT_THAT(report.environment.back().value, HasSubstr("1 of metrics.jsonl, the first is line 34"));
}

TEST_F(RunReportTest, AnyNumberOfStepsBecomesAsManyPointsAsAPlotShows) {
  for (const std::int64_t steps : {1'000, 1'501, 60'000}) {
    {
      std::string lines;
      for (std::int64_t step = 1; step <= steps; ++step)
        lines +=
            to_json({{"kind", "step"}, {"step", step}, {"loss", 2.0 * static_cast<double>(step)}}) + '\n';
      write("metrics.jsonl", lines);
    }
    const StepSeries series = read_run(folder_).steps;
    EXPECT_EQ(series.step.size(), std::min<std::size_t>(1500, static_cast<std::size_t>(steps)));
    ASSERT_EQ(series.loss.size(), series.step.size());
    for (std::size_t i = 0; i < series.step.size(); ++i) {
      EXPECT_NEAR(series.loss[i], 2 * series.step[i], 1e-6);
      if (i > 0) {
        EXPECT_GT(series.step[i], series.step[i - 1]);
      }
    }
    EXPECT_NEAR(series.step.back(), static_cast<double>(steps), 0.001 * static_cast<double>(steps));
  }
}

TEST_F(RunReportTest, ValidationsWithinAnEpochAreDrawnBetweenItsEnds) {
  std::string lines;
  for (const std::int64_t step : {5, 15}) {
    const double auc = 0.8 + 0.01 * static_cast<double>(step);
    lines +=
        to_json({{"kind", "validation"}, {"step", step}, {"valid_loss", 0.5}, {"valid_auc", auc}}) + '\n';
    EpochRow row{.epoch = (step + 5) / 10, .epochs = 2, .step = step + 5, .valid_loss = 0.4};
    row.metrics = {{"valid_auc", auc + 0.05}};
    lines += to_json(make_record(row)) + '\n';
  }
  write("metrics.jsonl", lines);
  const TrainingReport report = read_run(folder_);
  EXPECT_THAT(report.validations.step, testing::ElementsAre(5, 15));
  const std::string html = render_html(report);
  EXPECT_EQ(test::markup_fault(html), "");
  for (const char* name : {"data-name=\"validation\">", "data-name=\"AUC\">"}) {
    const auto begin = html.find(name);
    ASSERT_NE(begin, std::string::npos) << name;
    const std::string line = html.substr(begin, html.find("</g>", begin) - begin);
    std::size_t points = 0;  // of two epochs and two validations
    for (std::size_t at = line.find("<circle"); at != std::string::npos; at = line.find("<circle", at + 1))
      ++points;
    EXPECT_EQ(points, 4U) << line;
  }
}

TEST_F(RunReportTest, RecordsAsTheyComeShowWhatTheFileShows) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::vector<Record> records;
  for (std::int64_t step = 1; step <= 70'000; ++step) {
    const double loss = step % 1000 == 0 ? kInfinity : 1.0 / static_cast<double>(step);
    records.push_back({{"kind", "step"}, {"step", step}, {"loss", loss}, {"loss_flavour", loss / 3}});
    if (step % 10 == 0)
      records.push_back({{"kind", "validation"}, {"step", step}, {"valid_auc", loss}, {"valid_auc", 7.0}});
    if (step % 7'000 == 0) {
      EpochRow row{.epoch = step / 7'000, .epochs = 10, .step = step, .train_loss = loss};
      row.metrics = {{"valid_auc", kInfinity}, {"valid_pull", 3.0}};
      records.push_back(make_record(row));
    }
  }
  RunRecords live, half;
  std::string lines;
  for (std::size_t i = 0; i < records.size(); ++i) {
    live.add(records[i]);
    lines += to_json(records[i]) + '\n';
    if (i + 1 != records.size() / 2) continue;
    write("metrics.jsonl", lines);
    half.read(folder_ / "metrics.jsonl");
  }
  write("metrics.jsonl", lines);
  for (std::size_t i = records.size() / 2; i < records.size(); ++i) half.add(records[i]);
  const std::string from_file = render_html(read_run(folder_));
  EXPECT_EQ(test::markup_fault(from_file), "");
  for (const RunRecords* records_of_run : {&live, &half}) {
    TrainingReport report = describe_run(folder_, "");
    records_of_run->show_in(report);
    EXPECT_LE(report.validations.step.size(), 1'500U);
    EXPECT_EQ(render_html(report), from_file);
  }
}

TEST_F(RunReportTest, LeavesOutWhatIsMissing) {
  write("run.json", R"({"summary": {"Model": "lite"}})");
  render_run(folder_);
  const std::string html = read("report.html");
  EXPECT_EQ(test::markup_fault(html), "");
  EXPECT_THAT(html, HasSubstr(folder_.filename().string()));
  EXPECT_THAT(html, HasSubstr("lite"));
  for (const char* absent : {"<svg", "Training</h2>", "Performance</h2>", "nan"})
    EXPECT_THAT(html, Not(HasSubstr(absent)));
}

// A run of two networks without classes: no accuracy, no validation loss.
TEST_F(RunReportTest, ShowsARunOfSeveralNetworks) {
  {
    JsonlWriter writer(folder_ / "metrics.jsonl");
    for (int epoch = 1; epoch <= 3; ++epoch) {
      for (int i = 1; i <= 10; ++i) {
        writer.append({{"kind", "step"},
                       {"step", std::int64_t{(epoch - 1) * 10 + i}},
                       {"loss", 0.7},
                       {loss_key("discriminator_real"), 0.7},
                       {loss_key("generator"), 12.0 / epoch},
                       {loss_key("generator_energy"), 0.1}});
      }
      EpochRow row{.epoch = epoch, .epochs = 3, .step = epoch * 10, .seconds = 9, .train_loss = 0.7};
      row.losses = {{"discriminator_real", 0.7}, {"generator", 12.0 / epoch}, {"generator_energy", 0.1}};
      if (epoch > 1) row.metrics = {{"valid_score", 0.25 * epoch}};
      writer.append(make_record(row));
    }
  }
  Section section{.title = "Shower shapes", .paragraphs = {"Two energies."}};
  section.pictures = {{.caption = "Side by side", .pictures = {{.values = {{1, 2}}}}}};
  write_sections(folder_ / "sections.json", {section});
  const TrainingReport report = read_run(folder_);
  ASSERT_EQ(report.steps.losses.size(), 3u);
  EXPECT_EQ(report.steps.losses[1].name, "generator");
  EXPECT_EQ(report.steps.losses[1].values.size(), report.steps.step.size());
  const std::string html = render_html(report);
  EXPECT_EQ(test::markup_fault(html), "");
  for (const char* part :
       {"Losses: discriminator", "Losses: generator", ">discriminator real</th>", ">generator</th>",
        ">score</th>", "<dt>Score</dt><dd>0.7500", "0.75000", "Shower shapes", "Side by side"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  for (const char* absent : {"Accuracy", "AUC", "Validation loss", "Training loss", "<h3>Loss</h3>",
                             ">generator energy</th>", "Learning rate</th>", "nan"}) {
    EXPECT_THAT(html, Not(HasSubstr(absent)));
  }
  EXPECT_LT(html.find("Shower shapes"), html.find("<h2>Training</h2>"));
}

TEST_F(RunReportTest, PassesWithTotalsHavePlotsOfTheirOwn) {
  {
    JsonlWriter writer(folder_ / "metrics.jsonl");
    EpochRow row{.epoch = 1, .epochs = 1, .step = 5, .seconds = 1};
    row.losses = {{"generator_total", 9},
                  {"generator_energy", 8},
                  {"discriminator_real_total", 2},
                  {"discriminator_real_energy", 1},
                  {"discriminator_fake_total", 3}};
    writer.append(make_record(row));
  }
  const std::string html = render_html(read_run(folder_));
  for (const char* part : {"Losses: generator</h3>", "Losses: discriminator real</h3>",
                           "Losses: discriminator fake</h3>", ">discriminator real</th>"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  EXPECT_THAT(html, Not(HasSubstr("real energy</th>")));
}

TEST_F(RunReportTest, ARunWithoutValidationHasNoEmptyColumn) {
  {
    JsonlWriter writer(folder_ / "metrics.jsonl");
    writer.append(make_record({.epoch = 1, .epochs = 1, .step = 5, .seconds = 1, .train_loss = 0.5}));
  }
  const std::string html = render_html(read_run(folder_));
  EXPECT_THAT(html, HasSubstr("Training loss</th>"));
  EXPECT_THAT(html, Not(HasSubstr("Validation loss")));
}

TEST_F(RunReportTest, ATermThatAppearsLateIsUnknownBefore) {
  {
    JsonlWriter writer(folder_ / "metrics.jsonl");
    writer.append({{"kind", "step"}, {"step", std::int64_t{1}}, {"loss", 1.0}});
    writer.append({{"kind", "step"}, {"step", std::int64_t{2}}, {"loss", 1.0}, {loss_key("critic"), 3.0}});
    writer.append({{"kind", "step"}, {"step", std::int64_t{3}}, {"loss", 1.0}});
  }
  const TrainingReport report = read_run(folder_);
  ASSERT_EQ(report.steps.losses.size(), 1u);
  EXPECT_THAT(report.steps.losses[0].values, testing::ElementsAre(testing::IsNan(), 3.0, testing::IsNan()));
}

TEST_F(RunReportTest, RefusesAFolderOfNoRun) {
  try {
    render_run(folder_);
    FAIL() << "an empty folder was accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr(folder_.string()));
    EXPECT_THAT(error.what(), HasSubstr("metrics.jsonl"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.html"));
}

TEST_F(RunReportTest, NamesADamagedFile) {
  write_metrics();
  for (const std::string name : {"run.json", "sections.json"}) {
    write(name, "{\"name\": ");
    try {
      read_run(folder_);
      FAIL() << name << " was accepted";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(name));
    }
    std::filesystem::remove(folder_ / name);
  }
}

TEST_F(RunReportTest, RefusesARunThatIsNoObject) {
  write_metrics();
  write("run.json", "[1, 2]");
  try {
    read_run(folder_);
    FAIL() << "a list was accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("run.json must hold a JSON object"));
  }
}

TEST_F(RunReportTest, ThinsManySteps) {
  {
    JsonlWriter writer(folder_ / "metrics.jsonl");
    for (std::int64_t step = 1; step <= 5000; ++step)
      writer.append({{"kind", "step"}, {"step", step}, {"loss", 1.0}});
  }
  const TrainingReport report = read_run(folder_);
  EXPECT_LE(report.steps.step.size(), 1500u);
  EXPECT_GT(report.steps.step.size(), 500u);
  EXPECT_EQ(report.steps.loss.size(), report.steps.step.size());
  EXPECT_THAT(report.steps.loss, testing::Each(testing::DoubleEq(1.0)));
}

}  // namespace
}  // namespace bunchtrain::report
