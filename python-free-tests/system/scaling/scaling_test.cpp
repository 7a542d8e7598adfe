// SPDX-License-Identifier: Apache-2.0
// The scaling benchmark, as a user starts it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "../../support/process.hpp"

namespace bunchtrain::test {
namespace {

class ScalingTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(out()); }

  static std::filesystem::path out() {
    return std::filesystem::temp_directory_path() / ("bunchtrain_scaling_" + std::to_string(getpid()));
  }
  static Finished scaling(const std::string& words) {
    return run(std::string(BUNCHTRAIN_BUILD) + "/benchmarks/scaling/scaling --out " + out().string() + " " +
               words);
  }
};

// Only what holds on a busy machine: which points there are, and that their parts make up the step.
TEST_F(ScalingTest, MeasuresBothModesOnOneAndTwoRanks) {
  const Finished done = scaling(
      "--ranks 1,2 --batch 8 --steps 2 --epochs 2 --launcher 'mpirun -n {n} --bind-to none' "
      "--trainer-options='--model lite --particles 16'");
  ASSERT_EQ(done.exit_code, 0) << done.output;

  const auto results = nlohmann::json::parse(read_file(out() / "scaling.json")).at("results");
  ASSERT_EQ(results.size(), 4U);
  const std::vector<std::string> modes = {"weak", "weak", "strong", "strong"};
  const std::vector<int> ranks = {1, 2, 1, 2}, batches = {8, 16, 16, 16};
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& point = results[i];
    EXPECT_EQ(point.at("scaling"), modes[i]);
    EXPECT_EQ(point.at("ranks"), ranks[i]);
    EXPECT_EQ(point.at("batch"), batches[i]);
    EXPECT_EQ(point.at("epochs").size(), 2U);
    const auto& step = point.at("median");
    double parts = 0;
    for (const char* part : {"compute", "communication", "data", "idle"}) {
      const double seconds = step.at("seconds_" + std::string(part));
      EXPECT_GE(seconds, 0) << part;
      parts += seconds;
    }
    EXPECT_NEAR(parts, step.at("seconds"), 1e-9);
    EXPECT_NEAR(point.at("samples_per_second").get<double>() * parts, batches[i], 1e-6);
    if (ranks[i] == 1) {
      EXPECT_EQ(point.at("efficiency"), 1.0);
    } else {
      EXPECT_GT(step.at("seconds_communication"), 0.0);
    }
  }
  for (const char* plot : {"weak_efficiency", "weak_step", "strong_efficiency", "strong_step"})
    EXPECT_EQ(read_file(out() / (std::string(plot) + ".svg")).rfind("<svg", 0), 0U) << plot;
  EXPECT_NE(read_file(out() / "scaling.md").find("| strong | 2 | 16 |"), std::string::npos);
}

TEST_F(ScalingTest, ShowsWhatTheTrainerSaid) {
  const Finished done = scaling("--ranks 1 --mode weak --steps 1 --trainer-options=--no-such-option");
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_NE(done.output.find("--no-such-option"), std::string::npos) << done.output;
  EXPECT_NE(done.output.find("exit code"), std::string::npos) << done.output;
}

TEST_F(ScalingTest, RefusesWhatMakesNoSense) {
  for (const char* words : {"--ranks 0", "--ranks 1,,2", "--ranks two", "--batch 0", "--launcher mpirun",
                            "--ranks 4 --global-batch 3", "--trainer /no/such/program"}) {
    const Finished done = scaling(words);
    EXPECT_EQ(done.exit_code, 2) << words << ": " << done.output;
    EXPECT_FALSE(std::filesystem::exists(out())) << words;
  }
  std::filesystem::create_directories(out());
  EXPECT_EQ(scaling("").exit_code, 2) << "an existing folder must be left alone";
}

}  // namespace
}  // namespace bunchtrain::test
