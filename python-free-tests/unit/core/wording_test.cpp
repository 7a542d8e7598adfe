// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/wording.hpp"

#include <gtest/gtest.h>

namespace bunchtrain {
namespace {

/// As a program with a menu would speak.
class MenuWording final : public Wording {
 public:
  std::string setting(std::string_view field, std::string_view) const override {
    return "Settings > " + std::string(field);
  }
};

TEST(WordingTest, ALibrarySpeaksOfFieldsAndFunctions) {
  EXPECT_EQ(setting("learning_rate"), "learning_rate");
  EXPECT_EQ(setting("device", "cpu"), "device = cpu");
  EXPECT_EQ(way_to(Advice::draft_card, "jets.h5"), "features::draft_card");
  EXPECT_EQ(way_to(Advice::look_at_data, "jets.h5"), "data::list_contents");
}

TEST(WordingTest, AProgramChoosesItsWordsAndGivesThemBack) {
  const MenuWording menu;
  use_wording(&menu);
  EXPECT_EQ(setting("batch"), "Settings > batch");
  EXPECT_EQ(way_to(Advice::draft_card), "features::draft_card") << "what it does not say stays the library's";
  use_wording(nullptr);
  EXPECT_EQ(setting("batch"), "batch");
}

}  // namespace
}  // namespace bunchtrain
