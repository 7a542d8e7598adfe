// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A scratch folder with toy jets, and the command lines that a user types.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>

#include "../../support/process.hpp"
#include "bunchtrain/checkpoint/snapshot.hpp"

namespace bunchtrain::test {

class UserSession : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static const std::string& build() {
    static const std::string folder = BUNCHTRAIN_BUILD;
    return folder;
  }
  static std::string tool(const std::string& words) { return build() + "/tools/bunchtrain " + words; }
  static std::string example(const std::string& name, const std::string& words) {
    return build() + "/examples/" + name + " " + words;
  }
  static std::string mpirun(int ranks, const std::string& command) {
    return "mpirun -n " + std::to_string(ranks) + " " + command;
  }
  static std::string train(const std::string& words) { return example("train_particlenet", words); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// Toy jets under `name`; few particles, so that an epoch takes a moment.
  std::string make_jets(const std::string& name, int count, int seed = 1) const {
    const Finished made = run(tool("generate jets --out " + path(name) + " --count " + std::to_string(count) +
                                   " --seed " + std::to_string(seed) + " --particles 24"));
    EXPECT_EQ(made.exit_code, 0) << made.output;
    return path(name);
  }

  /// The newest snapshot of a run in the folder.
  std::filesystem::path latest(const std::string& run) const {
    std::string name = read_file(folder_ / run / "checkpoints" / "latest");
    std::erase_if(name, [](unsigned char c) { return std::isspace(c); });
    return folder_ / run / "checkpoints" / name;
  }
  /// The steps and epochs recorded so far.
  std::int64_t lines(const std::string& run) const {
    const std::string text = read_file(folder_ / run / "metrics.jsonl");
    return std::count(text.begin(), text.end(), '\n');
  }
  /// Both runs ended at the same step with the same bits in `component`.
  void expect_same_weights(const std::string& a, const std::string& b,
                           const std::string& component = "model") const {
    const auto first = checkpoint::read_snapshot(latest(a));
    const auto second = checkpoint::read_snapshot(latest(b));
    EXPECT_EQ(first.info.step, second.info.step);
    for (const auto& [name, tensor] : first.components.at(component).tensors)
      EXPECT_TRUE(tensor.equal(second.components.at(component).tensors[name])) << component << " " << name;
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("bunchtrain_user_" + std::to_string(getpid()));
};

}  // namespace bunchtrain::test
