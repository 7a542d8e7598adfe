// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/module_weights.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>
#include <unistd.h>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::weights {
namespace {

using testing::HasSubstr;

/// Two parameters and a buffer, one of them in a child.
struct Small : torch::nn::Module {
  struct Child : torch::nn::Module {
    Child() { mean = register_buffer("mean", at::zeros({3})); }
    at::Tensor mean;
  };
  Small() {
    weight = register_parameter("weight", at::zeros({2, 3}));
    bias = register_parameter("bias", at::zeros({2}));
    norm = register_module("norm", std::make_shared<Child>());
  }
  at::Tensor weight, bias;
  std::shared_ptr<Child> norm;
};

NamedTensors state_with_prefix(const std::string& prefix) {
  NamedTensors tensors;
  tensors.set(prefix + "norm.mean", at::arange(3, at::kDouble));
  tensors.set(prefix + "weight", at::ones({2, 3}));
  tensors.set(prefix + "bias", at::arange(2, at::kFloat));
  return tensors;
}

template <class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ModuleWeightsTest, NamesParametersThenBuffers) {
  const Small module;
  const NamedTensors state = named_state(module);
  std::vector<std::string> names;
  for (const auto& entry : state) names.push_back(entry.name);
  EXPECT_THAT(names, testing::ElementsAre("weight", "bias", "norm.mean"));
  EXPECT_EQ(state["weight"].data_ptr(), module.weight.data_ptr());
}

TEST(ModuleWeightsTest, StripsPrefixesAndConverts) {
  for (const std::string prefix : {"", "mod.", "module.", "module.mod."}) {
    Small module;
    load_into(module, state_with_prefix(prefix), "x.safetensors");
    EXPECT_TRUE(at::equal(module.norm->mean, at::arange(3, at::kFloat))) << prefix;
    EXPECT_TRUE(at::equal(module.bias, at::arange(2, at::kFloat))) << prefix;
    EXPECT_TRUE(module.weight.requires_grad());
  }
}

TEST(ModuleWeightsTest, NamesTheFirstDifference) {
  Small module;
  NamedTensors missing;
  missing.set("weight", at::ones({2, 3}));
  EXPECT_THAT(message_of([&] { load_into(module, missing, "x.safetensors"); }),
              HasSubstr("this one has 'bias' [2]"));

  NamedTensors reshaped = state_with_prefix("mod.");
  reshaped.set("mod.weight", at::ones({3, 2}));
  EXPECT_THAT(message_of([&] { load_into(module, reshaped, "x.safetensors"); }),
              HasSubstr("'weight' is [3, 2] there and [2, 3] here"));

  NamedTensors more = state_with_prefix("");
  more.set("extra", at::ones({4}));
  EXPECT_THAT(message_of([&] { load_into(module, more, "x.safetensors"); }),
              HasSubstr("it holds 'extra' [4]"));

  NamedTensors twice = state_with_prefix("");
  twice.set("mod.bias", at::ones({2}));
  EXPECT_THAT(message_of([&] { load_into(module, twice, "x.safetensors"); }), HasSubstr("'bias' twice"));
}

TEST(ModuleWeightsTest, ADifferenceChangesNothing) {
  Small module;
  NamedTensors more = state_with_prefix("");
  more.set("extra", at::ones({4}));
  EXPECT_THROW(load_into(module, more, "x.safetensors"), CheckpointError);
  EXPECT_TRUE(at::equal(module.weight.detach(), at::zeros({2, 3})));
}

TEST(ModuleWeightsTest, RefusesWeightsThatAreNotFinite) {
  for (const char* name : {"weight", "bias", "norm.mean"}) {
    for (const double value : {std::nan(""), HUGE_VAL, -HUGE_VAL, 1e300}) {
      Small module;
      NamedTensors tensors;
      for (const auto& [known, tensor] : state_with_prefix("mod."))
        tensors.set(known, tensor.to(at::kDouble));
      tensors[std::string("mod.") + name].view(-1)[1] = value;
      EXPECT_THAT(
          message_of([&] { load_into(module, tensors, "x.safetensors"); }),
          testing::AllOf(HasSubstr("x.safetensors: 1 of the "), HasSubstr("'" + std::string(name) + "'")))
          << value;
      EXPECT_TRUE(at::equal(module.weight.detach(), at::zeros({2, 3}))) << "nothing was loaded";
    }
  }
}

TEST(ModuleWeightsTest, KeepsTheBatchCountThatOtherFrameworksDoNotHave) {
  Small module;
  module.norm->register_buffer("num_batches_tracked", at::ones({}, at::kLong));
  load_into(module, state_with_prefix(""), "x.safetensors");
  EXPECT_TRUE(at::equal(module.norm->mean, at::arange(3, at::kFloat)));
  EXPECT_EQ(module.norm->named_buffers()["num_batches_tracked"].item<std::int64_t>(), 1);
}

TEST(ModuleWeightsTest, APartialLoadTakesWhatFitsAndSaysTheRest) {
  Small module;
  NamedTensors other;
  other.set("mod.weight", at::ones({2, 3}));
  other.set("bias", at::ones({5}));
  other.set("extra", at::ones({4}));
  const LoadReport report = load_into(module, other, "x.safetensors", {.mode = LoadMode::partial});
  EXPECT_THAT(report.taken, testing::ElementsAre("weight"));
  ASSERT_EQ(report.other_shape.size(), 1U);
  EXPECT_EQ(report.other_shape[0].name, "bias");
  EXPECT_THAT(report.missing, testing::ElementsAre("norm.mean"));
  EXPECT_THAT(report.left_over, testing::ElementsAre("extra"));
  EXPECT_EQ(
      report.describe(),
      "taken: 1 of 3 tensors; of another shape, and left as they were: bias ([5] there, [2] here); not in the "
      "file, and left as they were: norm.mean; not in this network: extra");
  EXPECT_TRUE(at::equal(module.weight.detach(), at::ones({2, 3})));
  EXPECT_TRUE(at::equal(module.bias.detach(), at::zeros({2})));

  NamedTensors foreign;
  foreign.set("extra", at::ones({4}));
  EXPECT_THAT(message_of([&] { load_into(module, foreign, "x.safetensors", {.mode = LoadMode::partial}); }),
              HasSubstr("none of its 1 tensors fits one of the 3 here"));
}

TEST(ModuleWeightsTest, WeightsThatAreLeftBehindMayBeLost) {
  Small module;
  NamedTensors other = state_with_prefix("");
  other.set("bias", at::full({5}, std::nan("")));
  EXPECT_EQ(load_into(module, other, "x.safetensors", {.mode = LoadMode::partial}).taken.size(), 2U);
}

TEST(ModuleWeightsTest, NamesAreChangedAsTold) {
  Small module;
  NamedTensors other;
  other.set("mod.kernel", at::ones({2, 3}));
  other.set("bias", at::ones({2}));
  other.set("statistics.mean", at::ones({3}));
  const LoadOptions options{.renames = {{"kernel", "weight"}, parse_rename("statistics=norm")}};
  EXPECT_EQ(load_into(module, other, "x.safetensors", options).taken.size(), 3U);
  EXPECT_TRUE(at::equal(module.norm->mean, at::ones({3})));

  const auto refusal = [&](const Rename& rename) {
    try {
      load_into(module, other, "x.safetensors", {.renames = {rename}});
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refusal({"kernels", "weight"}),
              testing::AllOf(HasSubstr("kernels=weight"), HasSubstr("is 'kernel' meant?")));
  EXPECT_THAT(refusal({"stat", "norm"}), HasSubstr("or the first parts of one")) << "half a part";
  EXPECT_THAT(message_of([&] {
                load_into(module, other, "x.safetensors", {.renames = {{"kernel", "bias"}}});
              }),
              HasSubstr("'bias' twice"));
  for (const char* text : {"", "=", "a=", "=b", "a", "a=b=c"})
    EXPECT_THROW(parse_rename(text), ConfigError) << text;
}

TEST(ModuleWeightsTest, FreezesByPattern) {
  Small module;
  EXPECT_THAT(freeze(module, std::vector<std::string>{"w*"}), testing::ElementsAre("weight"));
  EXPECT_FALSE(module.weight.requires_grad());
  EXPECT_TRUE(module.bias.requires_grad());
  const auto refusal = [&](const char* pattern) {
    try {
      freeze(module, std::vector<std::string>{pattern});
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refusal("norm.*"), testing::AllOf(HasSubstr("matches a parameter"), HasSubstr("weight, bias")))
      << "a buffer is no parameter";
  EXPECT_THAT(refusal("*"), HasSubstr("leave a parameter to train"));
  EXPECT_TRUE(module.bias.requires_grad());
}

TEST(ModuleWeightsTest, SavesAndLoads) {
  const auto path =
      std::filesystem::path(testing::TempDir()) / ("small" + std::to_string(::getpid()) + ".safetensors");
  Small source, target;
  load_into(source, state_with_prefix(""), "memory");
  save_module(path, source, {{"classes", "qcd,top"}});
  const auto metadata = load_module(path, target);
  std::filesystem::remove(path);
  EXPECT_EQ(metadata.at("classes"), "qcd,top");
  EXPECT_TRUE(at::equal(source.weight, target.weight));
  EXPECT_TRUE(at::equal(source.norm->mean, target.norm->mean));
}

TEST(ModuleWeightsTest, ClassOrderIsCompared) {
  SafeTensors file;
  const std::vector<std::string> classes = {"qcd", "top"};
  EXPECT_NO_THROW(check_classes(file, classes, "x.safetensors"));
  file.metadata["classes"] = "qcd,top";
  EXPECT_NO_THROW(check_classes(file, classes, "x.safetensors"));
  file.metadata["classes"] = "top,qcd";
  const std::string message = message_of([&] { check_classes(file, classes, "x.safetensors"); });
  EXPECT_THAT(message, HasSubstr("classes = top,qcd"));
  EXPECT_THAT(message, HasSubstr("but qcd,top are expected"));
}

}  // namespace
}  // namespace bunchtrain::weights
