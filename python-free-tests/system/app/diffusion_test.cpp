// SPDX-License-Identifier: Apache-2.0
// calo-diffusion as a user trains it: in replicas, in stages, in slabs, its showers, and the layouts that are planned for it.
#include <gmock/gmock.h>

#include <tuple>
#include <utility>
#include <vector>

#include "bunchtrain/report/jsonl_writer.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class DiffusionTest : public UserSession {
 protected:
  std::string train(const std::string& run, const std::string& more = "") const {
    return example("train_calo_diffusion",
                   "--showers 40 --valid-fraction 0.2 --batch 8 --epochs 1 --channels 8,16 --run " +
                       path(run) + " " + more);
  }
};

TEST_F(DiffusionTest, TrainsInStagesAndMakesShowers) {
  const Finished trained =
      run(mpirun(2, train("stages", "--mesh pipeline=2 --pipeline-schedule zb-v --microbatches 4")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("zb-v of 4 stages on 2 ranks, 4 microbatches"));
  for (const char* model : {"stages", "stages/bundle"}) {
    const Finished made = run(tool("generate showers --model " + path(model) +
                                   " --count 40 --steps 3 --force --out " + path("fast.h5")));
    ASSERT_EQ(made.exit_code, 0) << made.output;
    EXPECT_THAT(made.output, HasSubstr("40 calo-diffusion showers"));
  }
  const Finished reference = run(tool("generate gflash --count 40 --out " + path("reference.h5")));
  ASSERT_EQ(reference.exit_code, 0) << reference.output;
  const Finished compared =
      run(tool("validate showers --reference " + path("reference.h5") + " --candidate " + path("fast.h5")));
  EXPECT_THAT(compared.output, HasSubstr("score"));
}

TEST_F(DiffusionTest, GoesOnWithReplicasWhereStagesStopped) {
  ASSERT_EQ(run(mpirun(2, train("run", "--mesh pipeline=2 --max-steps 2"))).exit_code, 0);
  const Finished resumed =
      run(mpirun(2, train("run", "--resume --allow-changed --epochs 2 --activation-bytes 30M")));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
  EXPECT_THAT(resumed.output,
              AllOf(HasSubstr("activations of 4 showers"), HasSubstr("units computed again: ")));
}

class SlabsTest : public DiffusionTest {
 protected:
  std::string train_wide(const std::string& run, const std::string& more) const {
    return train(run, "--showers 10 --batch 2 --precision float64 --checkpoint-every 1 " + more);
  }
  /// Both recorded the same losses of the steps.
  void expect_same_losses(const std::string& a, const std::string& b) const {
    const auto first = report::read_jsonl(folder_ / a / "metrics.jsonl"),
               second = report::read_jsonl(folder_ / b / "metrics.jsonl");
    ASSERT_EQ(first.size(), 5U);  // four steps and the epoch
    ASSERT_EQ(first.size(), second.size());
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_NEAR(report::number(first[i], "loss"), report::number(second[i], "loss"), 1e-9)
          << b << ", step " << i + 1;
    EXPECT_NEAR(report::number(first[4], "valid_loss"), report::number(second[4], "valid_loss"), 1e-9) << b;
  }
};

TEST_F(SlabsTest, LoseWhatOneRankLosesAndGoOnInAnotherLayoutAfterAKill) {
  const Finished one = run(train_wide("one", ""));
  ASSERT_EQ(one.exit_code, 0) << one.output;
  {
    Process process(mpirun(2, train_wide("slabs", "--mesh spatial=2")), folder_ / "log");
    ASSERT_TRUE(process.wait_until([&] { return lines("slabs") >= 1; })) << process.output();
    process.signal(SIGKILL);
    process.wait();
  }
  const Finished resumed = run(mpirun(4, train_wide("slabs", "--mesh spatial=2x2 --resume --allow-changed")));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
  expect_same_losses("one", "slabs");
}

TEST_F(SlabsTest, WhatCannotBeCutIsRefusedOnceForAllRanks) {
  for (const auto& [ranks, words, part] : std::vector<std::tuple<int, std::string, std::string>>{
           {3, "--channels 8,8,8,8,8 --mesh spatial=1x3", "at most 2 ranks"},
           {2, "--mesh spatial=2 --activation-bytes 30M", "0 with slabs"},
           {4, "--mesh spatial=2,pipeline=2", "stages (pipeline) or slabs (spatial)"}}) {
    const Finished refused = run(mpirun(ranks, train("refused", words)));
    EXPECT_EQ(refused.exit_code, 78) << refused.output;
    EXPECT_THAT(refused.output, HasSubstr(part));
    EXPECT_EQ(refused.output.find(part), refused.output.rfind(part)) << refused.output;
  }
}

TEST_F(DiffusionTest, OptionsOfOtherGeneratorsAreRefused) {
  const Finished gan = run(example("train_3dgan", "--mesh pipeline=2"));
  EXPECT_NE(gan.exit_code, 0);
  const Finished few = run(train("bad", "--showers 3"));
  EXPECT_EQ(few.exit_code, 78) << few.output;
  EXPECT_THAT(few.output, HasSubstr("showers"));
  const Finished bad = run(train("bad", "--channels 8,twelve"));
  EXPECT_EQ(bad.exit_code, 78) << bad.output;
  EXPECT_THAT(bad.output, HasSubstr("whole numbers with commas"));
  const Finished words = run(train("bad", "--activation-bytes few"));
  EXPECT_EQ(words.exit_code, 78) << words.output;
  EXPECT_THAT(words.output, HasSubstr("such as 80G or 512M"));
  const Finished little = run(train("bad", "--activation-bytes 1K"));
  EXPECT_EQ(little.exit_code, 78) << little.output;
  EXPECT_THAT(little.output, AllOf(HasSubstr("activation_bytes = 1e+03"), HasSubstr("at least")));
  const Finished staged = run(mpirun(2, train("bad", "--mesh pipeline=2 --activation-bytes 1G")));
  EXPECT_EQ(staged.exit_code, 78) << staged.output;
  EXPECT_THAT(staged.output, HasSubstr("more stages or microbatches"));
}

TEST_F(DiffusionTest, PlansLayouts) {
  const std::string question = "plan --model calo-diffusion-tiny --ranks 4 --batch 32 --memory 80G ";
  const Finished planned =
      run(tool(question + "--save-profile " + path("profile.json") + " --picture " + path("step.svg")));
  ASSERT_EQ(planned.exit_code, 0) << planned.output;
  EXPECT_THAT(planned.output,
              AllOf(HasSubstr("data=2,pipeline=2"), HasSubstr("mpirun -n 4 train_calo_diffusion --mesh")));
  EXPECT_THAT(read_file(path("step.svg")), HasSubstr("weight gradient"));
  const Finished again = run(tool(question + "--profile " + path("profile.json")));
  EXPECT_EQ(again.exit_code, 0) << again.output;
  const Finished small =
      run(tool("plan --model calo-diffusion-tiny --ranks 2 --memory 1K --profile " + path("profile.json")));
  EXPECT_EQ(small.exit_code, 78);
  EXPECT_THAT(small.output, HasSubstr("the least that a layout on 2 ranks needs"));
  for (const auto& [words, part] : std::vector<std::pair<std::string, std::string>>{
           {"plan --memory lots", "such as 80G or 512M"},
           {"plan", "such as calo-diffusion-large"},
           {"plan --profile " + path("none.json"), "a file that --save-profile wrote"},
           {"plan --ranks 1 --profile " + path("profile.json") + " --picture " + path("one.svg"),
            "no layout in stages fits"}}) {
    const Finished refused = run(tool(words));
    EXPECT_EQ(refused.exit_code, 78) << words;
    EXPECT_THAT(refused.output, HasSubstr(part));
  }
  EXPECT_THAT(run(tool("plan --model 3dgan-generator")).output,
              HasSubstr("a network that is a sequence of units"));
}

}  // namespace
}  // namespace bunchtrain::test
