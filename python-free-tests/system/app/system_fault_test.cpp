// SPDX-License-Identifier: Apache-2.0
/// Full disks and I/O errors at every file that a run writes: what only watches costs a warning, a snapshot
/// costs the run, and nothing is lost.
#include <gmock/gmock.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "bunchtrain/report/jsonl_writer.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using testing::HasSubstr;

constexpr int kTempFail = 75;
constexpr int kForEver = 1'000'000;

struct Fault {
  std::string call, part;
  int after, code, times;

  std::string text() const {
    return call + ":" + part + ":" + std::to_string(after) + ":" + std::to_string(code) + ":" +
           std::to_string(times);
  }
};
using Faults = std::vector<Fault>;

std::string text_of(const Faults& faults) {
  std::string text;
  for (const Fault& fault : faults) text += (text.empty() ? "" : ",") + fault.text();
  return text;
}

class SystemFaultTest : public UserSession {
 protected:
  void SetUp() override {
    UserSession::SetUp();
    jets_ = make_jets("toy.h5", 600);
  }
  std::string command(const std::string& run, const std::string& more = "") const {
    return train("--particles 24 --epochs 2 --batch 60 --checkpoint-every 4 --data " + jets_ + " --run " +
                 path(run) + " " + more);
  }
  static std::string with(const Faults& faults, const std::string& command, const std::string& rank = "") {
    return "env LD_PRELOAD=" BUNCHTRAIN_FAILING_CALLS "${LD_PRELOAD:+:$LD_PRELOAD} FAIL=" + text_of(faults) +
           (rank.empty() ? "" : " FAIL_RANK=" + rank) + " " + command;
  }
  void run_undisturbed(int ranks) const {
    const Finished done = run(ranks == 1 ? command("undisturbed") : mpirun(ranks, command("undisturbed")));
    ASSERT_EQ(done.exit_code, 0) << done.output;
  }
  /// Every step and epoch of the undisturbed run, once.
  void expect_same_records(const std::string& name) const {
    const auto expected = report::read_jsonl(folder_ / "undisturbed" / "metrics.jsonl");
    const auto found = report::read_jsonl(folder_ / name / "metrics.jsonl");
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      for (const char* field : {"step", "epoch", "loss", "valid_auc"}) {
        if (!report::find(expected[i], field)) continue;
        EXPECT_EQ(report::number(found[i], field), report::number(expected[i], field)) << i << " " << field;
      }
  }
  /// The last snapshots hold the same weights; found without the pointer file, which may be what failed.
  void expect_same_end(const std::string& name) const {
    const auto last = [&](const std::string& run) {
      std::filesystem::path newest;
      for (const auto& entry : std::filesystem::directory_iterator(folder_ / run / "checkpoints"))
        if (entry.is_directory()) newest = std::max(newest, entry.path());
      return checkpoint::read_snapshot(newest);
    };
    const auto first = last("undisturbed"), second = last(name);
    EXPECT_EQ(first.info.step, second.info.step);
    for (const auto& [key, tensor] : first.components.at("model").tensors)
      EXPECT_TRUE(tensor.equal(second.components.at("model").tensors[key])) << key;
  }
  std::string jets_;
};

TEST_F(SystemFaultTest, WhatOnlyWatchesNeverEndsARun) {
  run_undisturbed(1);
  const std::vector<Faults> runs = {{{"write", "metrics.jsonl", 0, ENOSPC, 3},
                                     {"open", "tfevents", 0, ENOSPC, kForEver},
                                     {"write", "sections.json", 0, ENOSPC, kForEver},
                                     {"write", "run.json", 0, EDQUOT, kForEver}},
                                    {{"open", "metrics.jsonl", 0, ENOSPC, 2},
                                     {"write", "tfevents", 5, ENOSPC, kForEver},
                                     {"write", "report.html", 0, ENOSPC, kForEver},
                                     {"write", "checkpoints/latest", 0, ENOSPC, kForEver},
                                     {"write", "checkpoints/best", 0, ENOSPC, kForEver}},
                                    {{"write", "metrics.jsonl", 7, EDQUOT, 4},
                                     {"fsync", "metrics.jsonl", 0, EIO, 1},
                                     {"fsync", "tfevents", 0, EIO, 1},
                                     {"mkdir", "/events", 0, ENOSPC, 1},
                                     {"fsync", "sections.json", 0, EIO, kForEver}}};
  for (const Faults& faults : runs) {
    const Finished done = run(with(faults, command("disturbed")));
    EXPECT_EQ(done.exit_code, 0) << text_of(faults) << "\n" << done.output;
    EXPECT_THAT(done.output, HasSubstr("could not write metrics.jsonl")) << text_of(faults);
    EXPECT_THAT(done.output, HasSubstr("could not write TensorBoard events")) << text_of(faults);
    expect_same_records("disturbed");
    expect_same_end("disturbed");
    std::filesystem::remove_all(folder_ / "disturbed");
  }
}

TEST_F(SystemFaultTest, ASnapshotThatCannotBeWrittenEndsWith75AndCostsNothing) {
  run_undisturbed(1);
  const Faults faults = {{"write", "model.safetensors", 3, ENOSPC, kForEver},
                         {"fsync", "optimizer.safetensors", 1, EIO, 1},
                         {"write", "manifest.json", 3, EDQUOT, 1},
                         {"rename", "step-000008", 0, EIO, 1},
                         {"mkdir", "step-000004.partial", 0, ENOSPC, 1}};
  for (const Fault& fault : faults) {
    const Finished broken = run(with({fault}, command("disturbed")));
    EXPECT_EQ(broken.exit_code, kTempFail) << fault.text() << "\n" << broken.output;
    EXPECT_THAT(broken.output, HasSubstr("checkpoint")) << fault.text();
    const Finished resumed = run(command("disturbed", "--resume"));
    EXPECT_EQ(resumed.exit_code, 0) << fault.text() << "\n" << resumed.output;
    expect_same_records("disturbed");
    expect_same_end("disturbed");
    std::filesystem::remove_all(folder_ / "disturbed");
  }
}

TEST_F(SystemFaultTest, OneRankThatCannotWriteEndsAllWith75) {
  run_undisturbed(2);
  const Fault fault{"write", "buffers.rank-00001", 1, ENOSPC, kForEver};
  const Finished broken = run(mpirun(2, with({fault}, command("disturbed"), "1")));
  EXPECT_EQ(broken.exit_code, kTempFail) << broken.output;
  EXPECT_THAT(broken.output, HasSubstr("rank 1: cannot write"));
  ASSERT_EQ(run(mpirun(2, command("disturbed", "--resume"))).exit_code, 0);
  expect_same_records("disturbed");
  expect_same_end("disturbed");
}

TEST_F(SystemFaultTest, AnUnreadableSnapshotIsPassedOverAndIfAllAreItIs75) {
  run_undisturbed(1);
  ASSERT_EQ(run(command("disturbed")).exit_code, 0);
  const std::string newest = latest("disturbed").filename().string();
  const Finished one = run(
      with({{"open", newest + "/model.safetensors", 0, EIO, kForEver}}, command("disturbed", "--resume")));
  EXPECT_EQ(one.exit_code, 0) << one.output;
  EXPECT_THAT(one.output, HasSubstr(newest + " is left out"));
  expect_same_end("disturbed");
  const Finished all =
      run(with({{"open", "/model.safetensors", 0, ESTALE, kForEver}}, command("disturbed", "--resume")));
  EXPECT_EQ(all.exit_code, kTempFail) << all.output;
}

TEST_F(SystemFaultTest, ARunFolderThatCannotBeMadeNowMayBeMadeLater) {
  const Finished done = run(with({{"mkdir", "/crowded", 0, ENOSPC, kForEver}}, command("crowded")));
  EXPECT_EQ(done.exit_code, kTempFail) << done.output;
  for (const char* part : {"the run folder", "crowded cannot be made", "No space left", "--run"})
    EXPECT_THAT(done.output, HasSubstr(part));
}

}  // namespace
}  // namespace bunchtrain::test
