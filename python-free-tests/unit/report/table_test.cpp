// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/table.hpp"

#include <gtest/gtest.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/report/text_format.hpp"

namespace bunchtrain::report {
namespace {

TEST(TableTest, AlignsNumbersRightAndCountsCharacters) {
  Table table({"class", "1/εB"});
  table.add_row({"b", "329.9 ± 12.0"});
  table.add_row({"light", "> 3001"});
  EXPECT_EQ(table.to_string(),
            "┌───────┬──────────────┐\n"
            "│ class │         1/εB │\n"
            "├───────┼──────────────┤\n"
            "│ b     │ 329.9 ± 12.0 │\n"
            "│ light │       > 3001 │\n"
            "└───────┴──────────────┘\n");
}

TEST(TableTest, PlainStyleHasNoTrailingSpaces) {
  Table table({"name", "text"});
  table.add_row({"a", "x"});
  table.add_rule();
  table.add_row({"b", "long"});
  EXPECT_EQ(table.to_string(TableStyle::plain), "name  text\n----  ----\na     x\n----  ----\nb     long\n");
}

TEST(TableTest, AMixedColumnStaysLeft) {
  Table table({"value"});
  table.add_row({"12"});
  table.add_row({"none at all"});
  EXPECT_NE(table.to_string(TableStyle::plain).find("\n12\n"), std::string::npos);
}

TEST(TableTest, RefusesARowOfAnotherLength) {
  Table table({"a", "b"});
  EXPECT_THROW(table.add_row({"1"}), ConfigError);
  EXPECT_THROW(Table({}), ConfigError);
}

TEST(TextFormatTest, Durations) {
  EXPECT_EQ(format_duration(41.2), "0:41");
  EXPECT_EQ(format_duration(723), "12:03");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(2 * 86400 + 3 * 3600 + 240), "2 d 03:04");
  EXPECT_EQ(format_duration(-1), "-");
  EXPECT_EQ(format_duration(0.0 / 0.0), "-");
}

TEST(TextFormatTest, Counts) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(981), "981");
  EXPECT_EQ(format_count(999.6), "1.00k");
  EXPECT_EQ(format_count(12'400), "12.4k");
  EXPECT_EQ(format_count(3'100'000), "3.10M");
  EXPECT_EQ(format_integer(366160), "366,160");
  EXPECT_EQ(format_integer(-1234567), "-1,234,567");
  EXPECT_EQ(format_integer(-123), "-123");
}

}  // namespace
}  // namespace bunchtrain::report
