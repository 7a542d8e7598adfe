// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/state_dict.hpp"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {
namespace {

TEST(StateDictTest, NumbersReadBackToTheSameBits) {
  StateDict state;
  for (const double value : {0.1, 1.0 / 3, 1e-300, -0.0, std::numeric_limits<double>::denorm_min(),
                             std::numeric_limits<double>::max(), std::numeric_limits<double>::infinity()}) {
    state.set("rate", value);
    EXPECT_EQ(state.real("rate"), value);
    EXPECT_EQ(std::signbit(state.real("rate")), std::signbit(value));
  }
  state.set("step", std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(state.integer("step"), std::numeric_limits<std::int64_t>::min());
  state.set("epoch", 3);
  EXPECT_EQ(state.integer("epoch"), 3);
}

TEST(StateDictTest, MissingAndMalformedEntriesAreNamed) {
  StateDict state;
  state.set("kind", std::string("AdamW"));
  EXPECT_EQ(state.text("kind"), "AdamW");
  for (const auto name : {"kind", "absent"}) {
    try {
      static_cast<void>(state.integer(name));
      FAIL() << "no error";
    } catch (const CheckpointError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(name));
    }
  }
  EXPECT_THROW(static_cast<void>(state.real("kind")), CheckpointError);
}

TEST(StateDictTest, ChildUndoesMerge) {
  StateDict part;
  part.tensors.set("weight", at::ones({2}));
  part.set("step", 4);
  StateDict whole;
  whole.merge("optimizer", part);
  whole.merge("optimizer2", part);
  EXPECT_TRUE(whole.tensors.contains("optimizer.weight"));
  const StateDict back = whole.child("optimizer");
  EXPECT_EQ(back.tensors.size(), 1u);
  EXPECT_EQ(back.values.size(), 1u);
  EXPECT_TRUE(back.tensors["weight"].is_same(part.tensors["weight"]));
  EXPECT_EQ(back.integer("step"), 4);
}

}  // namespace
}  // namespace bunchtrain
