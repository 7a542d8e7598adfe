// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/error.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bunchtrain {
namespace {

TEST(ErrorTest, ContextFollowsMessageInnermostFirst) {
  try {
    try {
      throw DataError("jets.h5: dataset \"jets\" is missing");
    } catch (Error& error) {
      error.add_context("while planning epoch 3").add_context("while training runs/top");
      throw;
    }
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(),
                 "jets.h5: dataset \"jets\" is missing\n  while planning epoch 3\n  while training runs/top");
    EXPECT_EQ(error.message(), "jets.h5: dataset \"jets\" is missing");
    EXPECT_THAT(error.context(), testing::ElementsAre("while planning epoch 3", "while training runs/top"));
    EXPECT_THAT(error.where().file_name(), testing::HasSubstr("error_test.cpp"));
  }
}

TEST(ErrorTest, ConfigErrorNamesFieldValueAndWhatIsAllowed) {
  EXPECT_STREQ(ConfigError("--device", "gpu", "auto, cpu, cuda").what(),
               "--device = gpu cannot be used; allowed: auto, cpu, cuda");
  EXPECT_STREQ(ConfigError("--device", "", "auto").what(),
               "--device = (empty) cannot be used; allowed: auto");
}

TEST(ErrorTest, NotBuiltErrorNamesTheOption) {
  EXPECT_THAT(NotBuiltError("CUDA", "BUNCHTRAIN_CUDA=ON").what(), testing::HasSubstr("-DBUNCHTRAIN_CUDA=ON"));
}

TEST(ErrorTest, ExpectsThrowsOnlyWhenViolated) {
  EXPECT_NO_THROW(expects(true, "never"));
  EXPECT_THROW(expects(false, "k must be positive"), ConfigError);
}

TEST(ErrorTest, CopiesKeepTheirText) {
  const CommError original("all_reduce timed out");
  const CommError copy = original;
  EXPECT_STREQ(copy.what(), "all_reduce timed out");
  EXPECT_NE(static_cast<const void*>(copy.what()), static_cast<const void*>(original.what()));
}

}  // namespace
}  // namespace bunchtrain
