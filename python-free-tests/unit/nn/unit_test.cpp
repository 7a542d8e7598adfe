// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/unit.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <c10/core/Storage.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include <functional>
#include <optional>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {
namespace {

using testing::HasSubstr;

Unit copy(std::string name, std::vector<std::string> reads, std::vector<std::string> writes) {
  return {.name = std::move(name),
          .reads = std::move(reads),
          .writes = std::move(writes),
          .forward = [](const std::vector<at::Tensor>& in) { return in; }};
}

std::string refusal(const std::vector<Unit>& units, const std::vector<std::string>& outputs = {"y"}) {
  try {
    validate(units, std::vector<std::string>{"x"}, outputs);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(UnitTest, ASequenceIsComputedInOrderWithItsSkips) {
  NamedTensors values = {{"x", at::ones({2, 3})}};
  const std::vector<Unit> units = {unit("layer", torch::nn::Linear(3, 4), "x", "h"),
                                   copy("both", {"h", "x"}, {"a", "y"})};
  EXPECT_EQ(refusal(units), "no error");
  for (const Unit& one : units) call(one, values);
  EXPECT_EQ(values["a"].size(1), 4);
  EXPECT_TRUE(values["y"].equal(values["x"]));
}

TEST(UnitTest, WhatNoUnitReadsAnyMoreIsLetGo) {
  std::optional<c10::weak_intrusive_ptr<c10::StorageImpl>> first;
  bool is_gone = false;
  const auto step = [](std::string reads, std::string writes, std::function<void(const at::Tensor&)> look) {
    return Unit{.name = writes,
                .reads = {std::move(reads)},
                .writes = {writes},
                .forward = [look](const std::vector<at::Tensor>& in) {
                  const at::Tensor out = in.front() + 1;
                  look(out);
                  return std::vector<at::Tensor>{out};
                }};
  };
  const std::vector<Unit> units = {
      step("x", "a", [&](const at::Tensor& out) { first = out.storage().getWeakStorageImpl(); }),
      step("a", "b", [](const at::Tensor&) {}),
      step("b", "c", [&](const at::Tensor&) { is_gone = first->expired(); })};
  const std::vector<std::string> wanted = {"x", "c"};
  const NamedTensors found = call(units, {{"x", at::ones({2})}}, wanted);
  EXPECT_TRUE(is_gone);
  ASSERT_EQ(found.size(), 2);
  EXPECT_TRUE(found["x"].equal(at::ones({2})));
  EXPECT_TRUE(found["c"].equal(at::ones({2}) * 4));
}

TEST(UnitTest, WhatIsWrongWithASequenceIsNamed) {
  EXPECT_THAT(refusal({copy("", {"x"}, {"y"})}), HasSubstr("units need names"));
  EXPECT_THAT(refusal({copy("a", {"x"}, {"y"}), copy("a", {"x"}, {"z"})}), HasSubstr("each its own: 'a'"));
  EXPECT_THAT(refusal({copy("a", {"x"}, {})}), HasSubstr("unit 'a' writes nothing"));
  EXPECT_THAT(refusal({copy("a", {"later"}, {"y"})}), HasSubstr("unit 'a' reads 'later', which is no input"));
  EXPECT_THAT(refusal({copy("a", {"x"}, {"y"}), copy("b", {"x"}, {"y"})}),
              HasSubstr("unit 'b' writes 'y', which is of unit 'a'"));
  EXPECT_THAT(refusal({copy("a", {"x"}, {"h"})}), HasSubstr("no unit writes 'y'"));
  const torch::nn::Linear shared(3, 3);
  EXPECT_THAT(refusal({unit("a", shared, "x", "h"), unit("b", shared, "h", "y")}),
              HasSubstr("units 'a' and 'b' use the same module"));
}

TEST(UnitTest, AUnitThatGivesOtherNumbersOfTensorsIsNamed) {
  NamedTensors values = {{"x", at::ones({1})}};
  try {
    call(copy("a", {"x"}, {"y", "z"}), values);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("unit 'a' gave 1 tensors, and says that it writes 2 (y, z)"));
  }
}

}  // namespace
}  // namespace bunchtrain::nn
