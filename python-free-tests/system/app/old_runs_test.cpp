// SPDX-License-Identifier: Apache-2.0
/// Runs that version 0.1 left (python-free-tests/fixtures/README.md): read, applied and gone on with.
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "bunchtrain/report/jsonl_writer.hpp"
#include "scores.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

/// On the machine of the fixtures all is equal to the bit; another processor adds in another order.
constexpr double kOtherProcessor = 1e-2;
/// How far biases drift apart that a normalisation takes out again.
constexpr double kNoGradient = 1e-10;

using Words = std::vector<std::string>;
using Contents = std::map<std::string, std::string>;  ///< of files, by their path in a folder

class OldRunsTest : public UserSession {
 protected:
  void unpack(const std::string& fixture) const {
    const std::string cmake = BUNCHTRAIN_CMAKE;
    const Finished done = run(cmake + " -E chdir " + folder_.string() + " " + cmake + " -E tar xf " +
                              BUNCHTRAIN_FIXTURES "/" + fixture + ".tar.xz");
    ASSERT_EQ(done.exit_code, 0) << done.output;
  }
  Contents contents(const std::string& run) const {
    Contents files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / run))
      if (entry.is_regular_file())
        files[entry.path().lexically_relative(folder_ / run).string()] = read_file(entry.path());
    return files;
  }
  /// No file of before is gone or another one.
  void expect_kept(const std::string& run, const Contents& before) const {
    const Contents after = contents(run);
    for (const auto& [name, content] : before) {
      ASSERT_TRUE(after.contains(name)) << name << " is lost";
      EXPECT_TRUE(after.at(name) == content) << name << " is another one";
    }
  }
  /// The program ends so and says all of it.
  static Finished expect_said(const std::string& command, int exit_code, const Words& parts) {
    Finished done = run(command);
    EXPECT_EQ(done.exit_code, exit_code) << command << "\n" << done.output;
    for (const auto& part : parts)
      EXPECT_NE(done.output.find(part), std::string::npos) << part << "\n" << done.output;
    return done;
  }
  checkpoint::Components components(const std::string& run) const {
    return checkpoint::read_snapshot(latest(run)).components;
  }
  /// Each tensor moved since `before` as it did in the other run.
  void expect_same_end(const std::string& found, const std::string& expected,
                       const checkpoint::Components& before, const Words& names) const {
    EXPECT_EQ(latest(found).filename(), latest(expected).filename());
    const auto ours = components(found), theirs = components(expected);
    const auto distance = [](const at::Tensor& a, const at::Tensor& b) {
      return (a - b).abs().max().item<double>();
    };
    for (const auto& component : names) {
      for (const auto& [name, tensor] : theirs.at(component).tensors) {
        if (!tensor.is_floating_point()) continue;
        const double moved = distance(tensor, before.at(component).tensors[name]);
        const double apart = distance(tensor, ours.at(component).tensors[name]);
        EXPECT_GT(moved, 0) << component << " " << name;
        EXPECT_LE(apart, kOtherProcessor * moved + kNoGradient) << component << " " << name;
      }
    }
  }
  /// Both runs recorded the same steps and epochs.
  void expect_same_course(const std::string& found, const std::string& expected, const Words& fields) const {
    const auto ours = report::read_jsonl(folder_ / found / "metrics.jsonl");
    const auto theirs = report::read_jsonl(folder_ / expected / "metrics.jsonl");
    ASSERT_EQ(ours.size(), theirs.size());
    for (const auto& field : fields) {
      std::int64_t compared = 0;
      for (std::size_t i = 0; i < theirs.size(); ++i) {
        if (!report::find(theirs[i], field)) continue;
        const double value = report::number(theirs[i], field);
        EXPECT_NEAR(report::number(ours[i], field), value, kOtherProcessor * std::abs(value))
            << i << " " << field;
        ++compared;
      }
      EXPECT_GT(compared, 0) << field;
    }
  }
};

class OldJetRunsTest : public OldRunsTest {
 protected:
  void SetUp() override {
    OldRunsTest::SetUp();
    unpack("particlenet-0.1");
  }
  std::string evaluate(const std::string& run, const std::string& words) const {
    return tool("evaluate " + path("particlenet/" + run) + " --data " + path("particlenet/jets.h5") + " " +
                words);
  }
  std::string resume(const std::string& words = "") const {
    return mpirun(2,
                  train("--model lite --particles 16 --epochs 3 --batch 40 --valid-fraction 0.2 "
                        "--keep-last 1 --learning-rate 0.002 --seed 8 --resume --data " +
                        path("particlenet/jets.h5") + " --run " + path("particlenet/stopped") + " " + words));
  }
  void expect_the_undisturbed_end(const checkpoint::Components& before) const {
    expect_same_end("particlenet/stopped", "particlenet/finished", before, {"model", "optimizer"});
    expect_same_course(
        "particlenet/stopped", "particlenet/finished",
        {"step", "epoch", "loss", "learning_rate", "train_loss", "valid_loss", "valid_accuracy"});
    // Version 0.1 judged by the mean AUC of three classes, now the signal's counts: both bests are kept.
    EXPECT_EQ(read_file(path("particlenet/finished/checkpoints/best")), "step-000012\n");
    EXPECT_EQ(read_file(path("particlenet/stopped/checkpoints/best")), "step-000018\n");
    EXPECT_TRUE(std::filesystem::exists(path("particlenet/stopped/checkpoints/step-000012")));
  }
};

TEST_F(OldJetRunsTest, AreEvaluatedByTheirBestAndLatestSnapshot) {
  for (const std::string which : {"best", "latest"}) {
    const std::string expected = path("particlenet/" + which + ".h5"), found = path(which + ".h5");
    expect_said(evaluate("finished", "--checkpoint " + which + " --output " + found), 0,
                {"300 labelled samples", which == "best" ? "(step 12)" : "(step 18)"});
    EXPECT_EQ(read_scores(found).label, read_scores(expected).label);
    for (const char* score : {"score_qcd", "score_two_prong", "score_three_prong", "jet.mass"}) {
      const auto ours = read_member<double>(found, score, H5T_NATIVE_DOUBLE);
      const auto theirs = read_member<double>(expected, score, H5T_NATIVE_DOUBLE);
      ASSERT_EQ(ours.size(), theirs.size());
      for (std::size_t i = 0; i < theirs.size(); ++i)
        EXPECT_NEAR(ours[i], theirs[i], 1e-5 * (1 + std::abs(theirs[i]))) << score << " " << i;
    }
  }
  expect_said(evaluate("finished", "--split valid"), 78, {"does not say which files it was trained on"});
}

TEST_F(OldJetRunsTest, AreExportedByTheirBestSnapshot) {
  const std::string run = path("particlenet/finished"), bundle = path("tagger.bundle");
  const auto before = contents("particlenet/finished");
  expect_said(tool("export " + run + " --out " + bundle), 0, {"best snapshot of ", "opset 17"});
  expect_kept("particlenet/finished", before);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "tagger.bundle" / "model.onnx"));
  const std::string scores = path("scores.h5");
  expect_said(
      tool("score --bundle " + bundle + " --data " + path("particlenet/jets.h5") + " --output " + scores), 0,
      {"300 jets"});
  for (const char* score : {"score_qcd", "score_two_prong", "score_three_prong"}) {
    const auto ours = read_member<double>(scores, score, H5T_NATIVE_DOUBLE);
    const auto theirs = read_member<double>(path("particlenet/best.h5"), score, H5T_NATIVE_DOUBLE);
    ASSERT_EQ(ours.size(), theirs.size());
    for (std::size_t i = 0; i < theirs.size(); ++i)
      EXPECT_NEAR(ours[i], theirs[i], 1e-5) << score << " " << i;
  }
  expect_said("env TMPDIR=/proc " + tool("export " + run), 75,
              {"cannot make a folder /proc/bunchtrain-export-"});
  for (const char* snapshot : {"step-000012", "step-000018"})
    std::filesystem::remove_all(folder_ / "particlenet/finished/checkpoints" / snapshot);
  expect_said(tool("export " + run), 78, {"has no snapshot yet"});
}

TEST_F(OldJetRunsTest, GetTheirPage) {
  for (const std::string name : {"finished", "stopped"}) {
    const std::string run = path("particlenet/" + name);
    expect_said(tool("report " + run), 0, {"report.html"});
    const std::string page = read_file(run + "/report.html");
    for (const char* part : {"<svg", "particlenet-lite", "card toy_jets", "name=\"generator\""})
      EXPECT_NE(page.find(part), std::string::npos) << part;
  }
}

TEST_F(OldJetRunsTest, GoOnInTheSameOrderOnceTheirDataAreVouchedFor) {
  const auto before = contents("particlenet/stopped");
  const auto snapshot = components("particlenet/stopped");
  expect_said(resume(), 78, {"version 0.1", "--resume --allow-changed"});
  expect_kept("particlenet/stopped", before);

  const Finished done = expect_said(resume("--allow-changed"), 0, {"resumed at step 14", "taken for those"});
  EXPECT_EQ(done.output.find("order of samples"), std::string::npos) << done.output;
  expect_the_undisturbed_end(snapshot);
  EXPECT_NE(read_file(path("particlenet/stopped/run.json")).find("\"sessions\""), std::string::npos);
}

TEST_F(OldJetRunsTest, AnotherSeedIsNotVouchedFor) {
  expect_said(resume("--seed 9"), 78, {"seed 8", "here it is 9"});
  expect_said(resume("--seed 9 --allow-changed"), 0, {"the order of samples is another one"});
}

TEST_F(OldJetRunsTest, WhatIsMissingIsNamedAndNothingElseIsLost) {
  struct Case {
    std::string file, said;
  };
  for (const auto& [file, said] : {Case{"manifest.json", "manifest.json is missing"},
                                   Case{"model.safetensors", "model.safetensors is missing"}}) {
    SCOPED_TRACE(file);
    const auto gone = latest("particlenet/finished") / file;
    const std::string content = read_file(gone);
    std::filesystem::remove(gone);
    const auto before = contents("particlenet/finished");
    expect_said(mpirun(2, evaluate("finished", "--checkpoint latest --output " + path("scores.h5"))), 78,
                {said, "step-000018", "choose another by --checkpoint: step-000012"});
    expect_kept("particlenet/finished", before);
    EXPECT_FALSE(std::filesystem::exists(path("scores.h5")));
    std::ofstream(gone, std::ios::binary) << content;
  }
  // What snapshots know themselves, and what is only for resuming.
  for (const char* file : {"run.json", "card.toml", "metrics.jsonl", "checkpoints/best"})
    std::filesystem::remove(folder_ / "particlenet/finished" / file);
  std::filesystem::remove(latest("particlenet/finished") / "optimizer.safetensors");
  for (const char* which : {"best", "latest"})
    expect_said(mpirun(2, evaluate("finished", std::string("--checkpoint ") + which)), 0,
                {"300 labelled samples"});
}

TEST_F(OldJetRunsTest, ASnapshotThatIsNotWholeCostsTheStepsSinceTheOneBefore) {
  const auto snapshot = components("particlenet/stopped");
  std::filesystem::remove(latest("particlenet/stopped") / "optimizer.safetensors");
  for (const char* file : {"run.json", "card.toml"})
    std::filesystem::remove(folder_ / "particlenet/stopped" / file);
  const auto before = contents("particlenet/stopped");
  expect_said(resume(), 78, {"optimizer.safetensors is missing", "version 0.1"});
  expect_kept("particlenet/stopped", before);
  expect_said(resume("--allow-changed"), 0,
              {"optimizer.safetensors is missing", "what was trained up to step 14 is trained again"});
  expect_the_undisturbed_end(snapshot);
  for (const char* file : {"run.json", "card.toml"})
    EXPECT_TRUE(std::filesystem::exists(folder_ / "particlenet/stopped" / file)) << file;
}

class OldShowerRunsTest : public OldRunsTest {
 protected:
  void SetUp() override {
    OldRunsTest::SetUp();
    unpack("3dgan-0.1");
  }
  std::string resume() const {
    return example("train_3dgan",
                   "--showers 10 --valid-fraction 0.2 --batch 2 --epochs 1 --learning-rate 1e-7 --dropout 0 "
                   "--resume --generator-weights " +
                       path("3dgan/generator.safetensors") + " --discriminator-weights " +
                       path("3dgan/discriminator.safetensors") + " --run " + path("3dgan/stopped"));
  }
};

TEST_F(OldShowerRunsTest, AreExportedByTheirGenerator) {
  const std::string bundle = path("showers.bundle");
  expect_said(tool("export " + path("3dgan/finished") + " --out " + bundle), 0, {"opset 17"});
  expect_said(
      tool("generate showers --model " + bundle + " --energy 20:80 --count 2 --out " + path("made.h5")), 0,
      {"2 3DGAN showers"});
}

TEST_F(OldShowerRunsTest, MakeTheShowersOfThen) {
  const std::string made = path("made.h5");
  expect_said(
      tool("generate showers --model " + path("3dgan/finished") + " --energy 20:80 --count 2 --out " + made),
      0, {"2 3DGAN showers"});
  const std::string validate = "validate showers --reference " + path("3dgan/showers.h5") +
                               " --tolerance fraction=0.001,profile=0.01 --candidate ";
  expect_said(tool(validate + made), 0, {"sampling fraction"});
  expect_said(tool(validate + path("3dgan/finished")), 0, {"sampling fraction"});
  expect_said(tool(validate + path("3dgan/stopped")), 2,
              {"violated: sampling fraction"});  // two steps before
  expect_said(tool("report " + path("3dgan/finished")), 0, {"report.html"});
}

TEST_F(OldShowerRunsTest, GoOnAsIfNothingHadBeen) {
  const auto snapshot = components("3dgan/stopped");
  expect_said(resume(), 0, {"resumed at step 2"});
  expect_same_end(
      "3dgan/stopped", "3dgan/finished", snapshot,
      {"generator-model", "generator-optimizer", "discriminator-model", "discriminator-optimizer"});
  expect_same_course("3dgan/stopped", "3dgan/finished",
                     {"step", "epoch", "loss", "loss_generator_energy", "loss_discriminator_real_total"});
}

TEST_F(OldShowerRunsTest, WithoutAWholeSnapshotAreRefusedAsTheyAre) {
  for (const char* file : {"generator-optimizer.safetensors", "manifest.json"}) {
    std::filesystem::remove(latest("3dgan/stopped") / file);
    const auto before = contents("3dgan/stopped");
    expect_said(mpirun(2, resume()), 78,
                {"none of the 1 checkpoints is intact; move them away to start afresh",
                 file + std::string(" is missing")});
    expect_kept("3dgan/stopped", before);
  }
}

}  // namespace
}  // namespace bunchtrain::test
