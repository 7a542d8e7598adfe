// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/early_stopping.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/validation.hpp"

namespace bunchtrain::train {
namespace {

TEST(EarlyStoppingTest, AStateIsReadBack) {
  EarlyStopping stopping({.patience = 3});
  stopping.on_validation({.score = 0.75, .score_name = "valid_auc"});
  stopping.on_validation({.score = 0.5});
  EarlyStopping resumed({.patience = 3});
  resumed.load(stopping.state());
  EXPECT_EQ(resumed.state(), stopping.state());
  EXPECT_EQ(resumed.verdict().finish, "");
  for (int epoch = 0; epoch < 2; ++epoch) resumed.on_validation({.score = 0.75});
  EXPECT_EQ(resumed.verdict().finish, "3 epochs without a better valid_auc (best 0.75)");
}

TEST(EarlyStoppingTest, AnyMetricOfTheValidationMayBeWatched) {
  const auto validation = [](double loss, double auc) {
    return ValidationResult{.loss = loss, .metrics = {{"valid_auc", auc}}, .score = 1, .score_name = "other"};
  };
  EarlyStopping loss(parse_early_stopping("loss:2:0.1")), auc(parse_early_stopping("valid_auc:2")),
      small(parse_early_stopping("-auc:2"));
  for (EarlyStopping* stopping : {&loss, &auc, &small}) {
    stopping->on_validation(validation(1, 0.5));
    stopping->on_validation(validation(0.95, 0.6));  // better, but of the loss by less than 0.1
    EXPECT_EQ(stopping->verdict().finish, "");
    stopping->on_validation(validation(0.91, 0.7));
  }
  EXPECT_EQ(loss.verdict().finish, "2 epochs without a better valid_loss (best 1)");
  EXPECT_EQ(auc.verdict().finish, "");
  EXPECT_EQ(small.verdict().finish, "2 epochs without a better valid_auc (best 0.5)");
  EXPECT_EQ(loss.name(), "early-stopping-loss");
  EXPECT_EQ(EarlyStopping({}).name(), "early-stopping");
}

TEST(EarlyStoppingTest, WhatToWatchIsReadFromText) {
  const EarlyStoppingOptions options = parse_early_stopping("-valid_resolution:10:1e-3");
  EXPECT_EQ(options.metric, "valid_resolution");
  EXPECT_EQ(options.patience, 10);
  EXPECT_EQ(options.min_delta, 1e-3);
  EXPECT_TRUE(options.smaller_is_better);
  EXPECT_FALSE(parse_early_stopping("auc:5").smaller_is_better);
  EXPECT_TRUE(parse_early_stopping("valid_loss:5").smaller_is_better);
  for (const char* text : {"-valid_resolution:10:0.001", "auc:5", "valid_loss:5", "loss:3:0.25"})
    EXPECT_EQ(to_string(parse_early_stopping(text)), text);
  for (const char* wrong :
       {"", "auc", "auc:", "auc:0", "auc:many", ":5", "-:5", "auc:5:", "auc:5:-1", "auc:5:1:2"}) {
    try {
      parse_early_stopping(wrong);
      ADD_FAILURE() << "accepted: " << wrong;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("early-stop"),
                                               testing::HasSubstr("METRIC:PATIENCE:MIN_DELTA")));
    }
  }
}

TEST(EarlyStoppingTest, EveryRefusalSaysWhatAndHowToMendIt) {
  struct Refusal {
    std::function<void()> provoke;
    std::vector<std::string> words;
  };
  const auto load = [](const char* state) { return [state] { EarlyStopping({}).load(state); }; };
  for (const auto& [provoke, words] : std::vector<Refusal>{
           {[] { EarlyStopping({.patience = 0}); }, {"patience", "0", "at least 1"}},
           {[] { EarlyStopping({.min_delta = -0.5}); }, {"min_delta", "-0.5", "0 or a positive number"}},
           {[] { EarlyStopping({.patience = 4}).on_validation({}); },
            {"patience", "4", "0 with this validation", "no score"}},
           {[] {
              EarlyStopping({.metric = "acu"}).on_validation({.loss = 1, .metrics = {{"valid_auc", 0.5}}});
            },
            {"early-stop = acu", "valid_loss, valid_auc"}},
           {load(""), {"state of early stopping cannot be read"}},
           {load("2"), {"state of early stopping cannot be read: 2"}},
           {load("2 high valid_auc"), {"state of early stopping cannot be read: 2 high valid_auc"}}}) {
    try {
      provoke();
      ADD_FAILURE() << "accepted: " << words.front();
    } catch (const Error& error) {
      for (const std::string& word : words) EXPECT_THAT(error.what(), testing::HasSubstr(word));
    }
  }
}

}  // namespace
}  // namespace bunchtrain::train
