// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/flag_wording.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "bunchtrain/app/standard_options.hpp"

namespace bunchtrain::app {
namespace {

TEST(FlagWordingTest, FieldsAreFlags) {
  const FlagWording flags;
  EXPECT_EQ(flags.setting("learning_rate", ""), "--learning-rate");
  EXPECT_EQ(flags.setting("device", "cpu"), "--device cpu");
  EXPECT_EQ(flags.setting("allow_plugins", ""), "--hdf5-plugins");
  EXPECT_EQ(flags.advice(Advice::draft_card, "my jets.h5"), "bunchtrain inspect 'my jets.h5' --write-card");
}

TEST(FlagWordingTest, MessagesSpeakOfFlagsOnceAProgramSaysSo) {
  speak_of_flags();
  EXPECT_EQ(setting("clip_norm"), "--clip-norm");
  use_wording(nullptr);
  EXPECT_EQ(setting("clip_norm"), "clip_norm");
}

/// What messages of the library name most.
TEST(FlagWordingTest, TheFlagsExist) {
  const auto specs = standard_options();
  for (const char* field :
       {"batch", "accumulate", "learning_rate", "clip_norm", "resume", "allow_changed", "run", "seed",
        "precision", "device", "backend", "check_replicas", "reschedule", "allow_plugins", "threads"}) {
    const std::string flag = FlagWording().setting(field, "");
    EXPECT_TRUE(std::ranges::any_of(specs, [&](const auto& spec) { return "--" + spec.name == flag; }))
        << flag;
  }
}

}  // namespace
}  // namespace bunchtrain::app
