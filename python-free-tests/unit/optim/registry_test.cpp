// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(OptimizerRegistryTest, EveryNameIsCreatedWithItsOptions) {
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  for (const std::string& name : names()) {
    const auto optimizer = create(name, arenas, {.learning_rate = 0.25, .weight_decay = 0.125});
    EXPECT_EQ(optimizer->learning_rate(), 0.25) << name;
    EXPECT_THAT(optimizer->describe(),
                AllOf(HasSubstr("learning_rate 0.25"), HasSubstr("weight_decay 0.125")));
    EXPECT_EQ(optimizer->describe().starts_with("torch::optim::"), name.starts_with("torch-")) << name;
  }
}

TEST(OptimizerRegistryTest, MomentumAndKerasRmspropAreChosen) {
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  EXPECT_THAT(create("sgd", arenas)->describe(), HasSubstr("momentum 0.9"));
  EXPECT_THAT(create("torch-sgd", arenas, {.momentum = 0.5})->describe(), HasSubstr("momentum 0.5"));
  EXPECT_EQ(
      create("rmsprop", arenas, {.momentum = 0.5, .rmsprop = RmspropOptions::keras2()})->describe(),
      "RMSprop(PyTorch form, learning_rate 0.001, decay 0.9, epsilon 1e-07, momentum 0.5, weight_decay 0)");
  EXPECT_THAT(create("rmsprop", arenas, {.rmsprop = RmspropOptions::keras3()})->describe(),
              StartsWith("RMSprop(Keras form"));
}

TEST(OptimizerRegistryTest, AnUnknownNameIsToldTheOthers) {
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  try {
    create("adanw", arenas);
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("optimizer = adanw"), HasSubstr("ranger, rmsprop, torch-adamw"),
                                    HasSubstr("did you mean adamw?")));
  }
}

TEST(ParameterGroupTest, IsReadAndDescribed) {
  const ParameterGroup both = parse_parameter_group("head.*:lr=10,weight_decay=0.5");
  EXPECT_EQ(both.pattern, "head.*");
  EXPECT_EQ(both.learning_rate_factor, 10);
  EXPECT_EQ(both.weight_decay, 0.5);
  EXPECT_EQ(describe(both), "head.*: rate x 10, weight decay 0.5");
  const ParameterGroup rate = parse_parameter_group("a:b:lr=1e-2");
  EXPECT_EQ(rate.pattern, "a:b");
  EXPECT_EQ(rate.learning_rate_factor, 0.01);
  EXPECT_FALSE(rate.weight_decay.has_value());
  EXPECT_EQ(describe(rate), "a:b: rate x 0.01");
  for (const char* text : {"head.*:lr=10,weight_decay=0.5", "a:b:lr=0.01", "*.bias:weight_decay=0", "x:lr=1"})
    EXPECT_EQ(to_string(parse_parameter_group(text)), text);
}

TEST(ParameterGroupTest, EveryRefusalSaysWhatAndHowToMendIt) {
  struct Refusal {
    const char* text;
    std::vector<std::string> words;
  };
  for (const auto& [text, words] :
       std::vector<Refusal>{{"*.bias", {"parameter group = *.bias", "PATTERN:lr=FACTOR,weight_decay=X"}},
                            {":lr=1", {"PATTERN:lr=FACTOR"}},
                            {"*.bias:", {"PATTERN:lr=FACTOR"}},
                            {"*.bias:weight_decai=0", {"not \"weight_decai\"", "did you mean weight_decay?"}},
                            {"*.bias:beta=0", {"lr and weight_decay, not \"beta\""}},
                            {"*.bias:lr=fast", {"a finite number >= 0 in place of \"fast\""}},
                            {"*.bias:lr", {"in place of \"\""}},
                            {"*.bias:lr=-1", {"in place of \"-1\""}}}) {
    try {
      parse_parameter_group(text);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const ConfigError& error) {
      for (const std::string& word : words) EXPECT_THAT(error.what(), HasSubstr(word));
    }
  }
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  const auto optimizer = create("adamw", arenas);
  EXPECT_THROW(optimizer->set_groups({{.pattern = ""}}), ConfigError);
  EXPECT_THROW(optimizer->set_groups({{.pattern = "p1", .learning_rate_factor = -1}}), ConfigError);
  EXPECT_THROW(optimizer->set_groups({{.pattern = "p1", .weight_decay = -1}}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::optim
