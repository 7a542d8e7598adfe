// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/shell_word.hpp"

#include <gtest/gtest.h>

namespace bunchtrain {
namespace {

TEST(ShellWordTest, QuotesOnlyWhatAShellWouldTakeApart) {
  for (const char* plain : {"jets.h5", "/data/run-1/g_30.h5", "g=a,b.h5", "größe.h5"})
    EXPECT_EQ(shell_word(plain), plain);
  EXPECT_EQ(shell_word("my jets.h5"), "'my jets.h5'");
  EXPECT_EQ(shell_word("g*.h5"), "'g*.h5'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace bunchtrain
