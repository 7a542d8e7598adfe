// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A scratch folder with toy jets, and the command lines that a user types.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "../../support/process.hpp"

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

  const std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("bunchtrain_user_" + std::to_string(getpid()));
};

}  // namespace bunchtrain::test
