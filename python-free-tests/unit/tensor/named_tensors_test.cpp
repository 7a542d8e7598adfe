// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/named_tensors.hpp"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {
namespace {

TEST(NamedTensorsTest, KeepsInsertionOrderAndReplacesInPlace) {
  NamedTensors tensors;
  tensors.set("points", at::zeros({2}));
  tensors.set("mask", at::ones({3}));
  tensors.set("points", at::zeros({5}));
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  EXPECT_THAT(names, testing::ElementsAre("points", "mask"));
  EXPECT_EQ(tensors["points"].numel(), 5);
  EXPECT_EQ(tensors.size(), 2u);
}

TEST(NamedTensorsTest, SharesTensors) {
  const at::Tensor tensor = at::zeros({1});
  NamedTensors tensors;
  tensors.set("label", tensor);
  EXPECT_TRUE(tensors["label"].is_same(tensor));
}

TEST(NamedTensorsTest, MissingNameListsThosePresent) {
  NamedTensors tensors;
  EXPECT_FALSE(tensors.contains("mask"));
  tensors.set("points", at::zeros({1}));
  tensors.set("label", at::zeros({1}));
  try {
    static_cast<void>(tensors["mask"]);
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "there is no tensor \"mask\"; present: points, label");
  }
}

}  // namespace
}  // namespace bunchtrain
