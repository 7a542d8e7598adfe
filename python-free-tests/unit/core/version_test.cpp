// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/version.hpp"

#include <gtest/gtest.h>

namespace bunchtrain {
namespace {

TEST(VersionTest, TextHoldsTheThreeNumbers) {
  const std::string expected = std::to_string(kVersionMajor) + "." + std::to_string(kVersionMinor) + "." +
                               std::to_string(kVersionPatch);
  EXPECT_EQ(version(), expected);
  EXPECT_EQ(build_info().version, expected);
}

TEST(VersionTest, BuildInfoIsFilled) {
  const BuildInfo info = build_info();
  EXPECT_FALSE(info.git_commit.empty());
  EXPECT_FALSE(info.build_type.empty());
  EXPECT_NE(info.compiler.find(' '), std::string::npos);
}

}  // namespace
}  // namespace bunchtrain
