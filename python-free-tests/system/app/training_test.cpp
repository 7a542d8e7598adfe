// SPDX-License-Identifier: Apache-2.0
/// The trainers and the command line program as a user runs them.
#include <algorithm>

#include "bunchtrain/report/jsonl_writer.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

class TrainingTest : public UserSession {
 protected:
  /// One and two ranks lose the same in every step. @return what the run of one rank, `one`, printed
  std::string train_on_one_and_two(const std::string& flags) const {
    const Finished one = run(train(flags + " --run " + path("one")));
    const Finished two = run(mpirun(2, train(flags + " --run " + path("two"))));
    EXPECT_EQ(one.exit_code, 0) << one.output;
    EXPECT_EQ(two.exit_code, 0) << two.output;
    const auto first = report::read_jsonl(folder_ / "one" / "metrics.jsonl");
    const auto second = report::read_jsonl(folder_ / "two" / "metrics.jsonl");
    EXPECT_EQ(first.size(), second.size());
    EXPECT_GE(first.size(), 9U);
    for (std::size_t i = 0; i + 1 < std::min(first.size(), second.size()); ++i)
      EXPECT_NEAR(report::number(first[i], "loss"), report::number(second[i], "loss"), 1e-9)
          << "step " << i + 1;
    return one.output;
  }
};

double last_metric(const std::filesystem::path& run, const std::string& name) {
  double value = 0;
  for (const auto& record : report::read_jsonl(run / "metrics.jsonl"))
    if (report::text(record, "kind") == "epoch") value = report::number(record, name);
  return value;
}

TEST_F(TrainingTest, TwoRanksTrainATaggerAndFillTheRunFolder) {
  const std::string jets = make_jets("toy.h5", 3000);
  const Finished done = run(
      mpirun(2, train("--model lite --particles 24 --data " + jets + " --epochs 3 --run " + path("run"))));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  for (const char* file : {"run.json", "metrics.jsonl", "card.toml", "sections.json", "report.html", "events",
                           "checkpoints/best"})
    EXPECT_TRUE(std::filesystem::exists(folder_ / "run" / file)) << file;
  EXPECT_GT(last_metric(folder_ / "run", "valid_auc"), 0.7) << done.output;
  EXPECT_LT(last_metric(folder_ / "run", "train_loss"), 1.0);
  for (const char* said : {"accuracy", "AUC", "report.html", "toy_jets"})
    EXPECT_NE(done.output.find(said), std::string::npos) << said;
}

TEST_F(TrainingTest, WithoutMpirunMpiIsNotTouched) {
  const std::string jets = make_jets("toy.h5", 600);
  const Finished done = run(train("--particles 24 --data " + jets + " --epochs 1 --run " + path("run")));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_NE(read_file(folder_ / "run" / "run.json").find("\"backend\": \"self\""), std::string::npos);
}

TEST_F(TrainingTest, OneAndTwoRanksLoseTheSame) {
  const std::string jets = make_jets("toy.h5", 700);
  train_on_one_and_two("--particles 24 --precision float64 --sync-batch-norm --batch 70 --epochs 1 --data " +
                       jets);
}

/// Each rank pads its jets as it must.
TEST_F(TrainingTest, LengthBucketsTrainAlikeOnAnyRanksAndSayWhatThePaddingIs) {
  const Finished made = run(tool("generate jets --count 700 --particles 96 --out " + path("toy.h5")));
  ASSERT_EQ(made.exit_code, 0) << made.output;
  const std::string flags =
      "--particles 96 --length-buckets 8 --batch-norm-rows real --precision float64 "
      "--sync-batch-norm --batch 70 --epochs 1 --data " +
      path("toy.h5");
  const std::string output = train_on_one_and_two(flags);
  EXPECT_NE(output.find("batch norm learns theirs"), std::string::npos) << output;
  const double padding = last_metric(folder_ / "one", "loader_padding");
  EXPECT_GE(padding, 1);
  EXPECT_LT(padding, 1.6);
  EXPECT_NE(read_file(folder_ / "one" / "report.html").find("places in batches per element"),
            std::string::npos);
  const Finished other =
      run(train("--resume --epochs 2 " + flags + " --run " + path("one") + " --length-buckets 4"));
  EXPECT_NE(other.exit_code, 0);
  EXPECT_NE(other.output.find("length-buckets was 8"), std::string::npos) << other.output;
}

TEST_F(TrainingTest, CopiesOnTheNodeChangeNothingThatIsLearned) {
  const std::string jets = make_jets("toy.h5", 700);
  const std::string flags = "--particles 24 --batch 70 --epochs 3 --data " + jets + " --run ";
  const Finished plain = run(mpirun(2, train(flags + path("plain"))));
  const Finished staged = run(mpirun(2, train(flags + path("staged") + " --stage " + path("disk"))));
  ASSERT_EQ(plain.exit_code, 0) << plain.output;
  ASSERT_EQ(staged.exit_code, 0) << staged.output;
  EXPECT_EQ(last_metric(folder_ / "plain", "train_loss"), last_metric(folder_ / "staged", "train_loss"));
  int copies = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "disk" / "bunchtrain-staging"))
    copies +=
        entry.path().filename().string().ends_with("-toy.h5") && read_file(entry.path()) == read_file(jets);
  EXPECT_EQ(copies, 1) << "once per node\n" << staged.output;
}

TEST_F(TrainingTest, InFloat16ATaggerLosesAsInFloat32) {
  const std::string jets = make_jets("toy.h5", 700);
  const auto steps_in = [&](const std::string& precision) {
    const Finished done = run(train("--particles 24 --batch 70 --epochs 1 --data " + jets + " --precision " +
                                    precision + " --run " + path(precision)));
    EXPECT_EQ(done.exit_code, 0) << done.output;
    return report::read_jsonl(folder_ / precision / "metrics.jsonl");
  };
  const auto wide = steps_in("float32"), narrow = steps_in("float16");
  ASSERT_EQ(narrow.size(), wide.size());
  ASSERT_GE(narrow.size(), 9U);
  for (std::size_t i = 0; i + 1 < wide.size(); ++i) {
    EXPECT_NEAR(report::number(narrow[i], "loss"), report::number(wide[i], "loss"), 0.02) << "step " << i + 1;
    EXPECT_EQ(report::number(narrow[i], "scale_of_loss"), 65536);
  }
  const Finished evaluated = run(tool("evaluate --split valid --precision float16 --run " + path("float16") +
                                      " --output " + path("scores")));
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.output;
}

TEST_F(TrainingTest, TheCustomExamplesTrain) {
  const std::string jets = make_jets("toy.h5", 2000);
  const Finished loop =
      run(mpirun(2, example("custom_loop", "--batch 50 --epochs 1 --card toy_jets --data " + jets)));
  ASSERT_EQ(loop.exit_code, 0) << loop.output;
  EXPECT_NE(loop.output.find("step 20  loss"), std::string::npos) << loop.output;
  const Finished model =
      run(example("custom_model", "--epochs 2 --data " + jets + " --run " + path("deep_set")));
  ASSERT_EQ(model.exit_code, 0) << model.output;
  EXPECT_GT(last_metric(folder_ / "deep_set", "valid_auc"), 0.6);
}

TEST_F(TrainingTest, PrintedConfigurationCanBeFedBack) {
  const Finished printed = run(train("--data a.h5 --batch 64 --print-config"));
  ASSERT_EQ(printed.exit_code, 0);
  std::ofstream(path("config.toml")) << printed.output;
  const Finished again = run(train("--config " + path("config.toml") + " --print-config"));
  EXPECT_EQ(again.output, printed.output);
}

TEST_F(TrainingTest, TheCommandLineProgramAnswers) {
  const std::string jets = make_jets("toy.h5", 100);
  const Finished info = run(tool("info"));
  EXPECT_EQ(info.exit_code, 0);
  EXPECT_NE(info.output.find("top_tagging"), std::string::npos) << info.output;
  const Finished inspect = run(tool("inspect " + jets));
  EXPECT_EQ(inspect.exit_code, 0) << inspect.output;
  EXPECT_NE(inspect.output.find("particle_features"), std::string::npos) << inspect.output;
  EXPECT_NE(inspect.output.find("toy_jets"), std::string::npos) << inspect.output;
  const Finished unknown = run(tool("inspct " + jets));
  EXPECT_NE(unknown.exit_code, 0);
  EXPECT_NE(unknown.output.find("did you mean 'inspect'"), std::string::npos) << unknown.output;
}

}  // namespace
}  // namespace bunchtrain::test
