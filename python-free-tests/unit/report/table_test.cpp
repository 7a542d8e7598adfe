// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/table.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"

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

Table result_table() {
  Table table({"signal", "background", "AUC", "1/eB at 30 %", "1/eB at 50 %", "1/eB at 70 %"});
  table.add_row({"two_prong", "rest", "0.93142", "104.2 ± 12.8", "33.1 ± 2.3", "11.0 ± 0.4"});
  table.add_row({"three_prong", "qcd", "0.98855", "> 3001", "329.9 ± 72.0", "101.5 ± 12.2"});
  return table;
}

std::size_t widest_line(const std::string& text) {
  std::size_t widest = 0, begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    widest = std::max(widest, display_width(std::string_view(text).substr(begin, end - begin)));
  return widest;
}

TEST(TableTest, FitsTheWidthThatThereIs) {
  const Table table = result_table();
  const std::string natural = table.to_string();
  EXPECT_EQ(table.to_string(TableStyle::box, 200), natural);
  for (std::size_t width : {80, 60, 50, 40, 24}) {
    const std::string text = table.to_string(TableStyle::box, width);
    EXPECT_LE(widest_line(text), width) << text;
    for (const char* part : {"three_prong", "0.98855", "329.9", "12.2", "> 3001"})
      EXPECT_NE(text.find(part), std::string::npos) << width << "\n" << text;
  }
}

TEST(TableTest, CellsAreBrokenAtBlanksBeforeRowsAreTakenApart) {
  Table table({"quantity", "value"});
  table.add_row({"width of the sampling fraction", "0.0031"});
  table.add_row({"hits", "12"});
  EXPECT_EQ(table.to_string(TableStyle::box, 25),
            "quantity            value\n"
            "-----------------  ------\n"
            "width of the       0.0031\n"
            "sampling fraction\n"
            "hits                   12\n");
  EXPECT_EQ(table.to_string(TableStyle::box, 14),
            "quantity\n       width\n       of the\n       sampling\n       fraction\nvalue  0.0031\n\n"
            "quantity\n       hits\nvalue  12\n");
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
