// SPDX-License-Identifier: Apache-2.0
// Results of a run folder, today's and those of version 0.1.

#include "bunchtrain/train/run_page.hpp"

#include <gmock/gmock.h>

#include <fstream>

#include "bunchtrain/core/atomic_file.hpp"
#include "support/markup_checker.hpp"

namespace bunchtrain::train {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class RunPageTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "run.json") << R"({"name": "toy", "samples": "showers"})";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write_old_curves() const {
    std::ofstream(folder_ / "curves.json") << R"({
 "curves made by": "bunchtrain", "data": "validation", "epoch": 2, "step": 200, "samples": 6000,
 "loss": 0.15, "accuracy": 0.94, "auc": 0.985, "classes": ["qcd", "top"], "class_counts": [3001, 2999],
 "roc_curves": [{"signal": "top", "background": "qcd", "auc": 0.985,
   "signal_efficiency": [0.0, 0.3, 1.0], "background_efficiency": [0.0, 0.001, 1.0],
   "rejections": [{"signal_efficiency": 0.3, "rejection": 3001.0, "error": null, "is_lower_limit": true}]}],
 "histograms": [{"score": "top", "classes": ["qcd", "top"], "counts": [[2000, 900, 101], [99, 900, 2000]]}]
})";
  }
  std::string page() const { return read_text_file(render_run(folder_)); }

  const std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / "run_page_test";
};

TEST_F(RunPageTest, AnOldRunShowsItsCurves) {
  write_old_curves();
  const std::string html = page();
  EXPECT_EQ(test::markup_fault(html), "");
  for (const char* part : {"<dt>AUC</dt><dd>0.9850", "&gt; 3001", "ROC curve", "Background rejection",
                           "Score of top", "6,000 showers", "2,999 top", "After epoch 2"})
    EXPECT_THAT(html, HasSubstr(part));
  report::write_sections(folder_ / "sections.json", {{.title = "More", .paragraphs = {"of its own"}}});
  EXPECT_THAT(page(), AllOf(HasSubstr("ROC curve"), HasSubstr("of its own")));
}

TEST_F(RunPageTest, NewResultsTakeThePlaceOfOldOnes) {
  write_old_curves();
  const RunFolder folder = RunFolder::existing(folder_);
  keep_results(folder, {}, {.epoch = 3});
  EXPECT_TRUE(std::filesystem::exists(folder.old_curves())) << "nothing new was found";
  keep_results(folder, {{.title = "Results", .numbers = {{"AUC", "0.9911"}}}}, {.epoch = 3, .step = 1'300});
  EXPECT_FALSE(std::filesystem::exists(folder.old_curves()));
  EXPECT_THAT(page(),
              AllOf(HasSubstr("0.9911"), HasSubstr("After epoch 3, step 1,300."), Not(HasSubstr("0.9850"))));
}

}  // namespace
}  // namespace bunchtrain::train
