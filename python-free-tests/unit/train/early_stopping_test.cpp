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
  EXPECT_EQ(resumed.reason_to_finish(), "");
  for (int epoch = 0; epoch < 2; ++epoch) resumed.on_validation({.score = 0.75});
  EXPECT_EQ(resumed.reason_to_finish(), "3 epochs without a better valid_auc (best 0.75)");
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
