// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/plot/timeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <regex>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::plot {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Timeline two_lanes() {
  return {.title = "A <step>",
          .x_label = "Time [ms]",
          .kinds = {"forward", "backward"},
          .lanes = {{.name = "rank 0",
                     .bars = {{.begin = 0, .end = 40, .kind = 0, .text = "long"},
                              {.begin = 60, .end = 100, .kind = 1}}},
                    {.name = "rank 1", .bars = {{.begin = 40, .end = 40.5, .kind = 0, .text = "short"}}}}};
}

std::size_t count(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  return static_cast<std::size_t>(
      std::distance(std::sregex_iterator(text.begin(), text.end(), expression), std::sregex_iterator()));
}

TEST(TimelineTest, HasABarForEachAndOneForEachKindInTheLegend) {
  const std::string svg = render_svg(two_lanes());
  EXPECT_EQ(count(svg, "<rect class=\"bt-span bt-c0\""), 3U);
  EXPECT_EQ(count(svg, "<rect class=\"bt-span bt-c1\""), 2U);
  EXPECT_THAT(svg, AllOf(HasSubstr(">rank 0<"), HasSubstr(">rank 1<"), HasSubstr(">forward<"),
                         HasSubstr("Time [ms]"), HasSubstr("A &lt;step&gt;"), HasSubstr("<style>")));
  EXPECT_THAT(render_svg(two_lanes(), SvgStyle::inline_html), Not(HasSubstr("<style>")));
}

TEST(TimelineTest, WritesOnBarsThatHaveRoom) {
  const std::string svg = render_svg(two_lanes());
  EXPECT_THAT(svg, AllOf(HasSubstr("class=\"bt-on\">long<"), Not(HasSubstr(">short<"))));
}

TEST(TimelineTest, BarsLieWhereTheirTimesAre) {
  std::smatch found;
  const std::string svg = render_svg(two_lanes());
  ASSERT_TRUE(std::regex_search(
      svg, found, std::regex("bt-c1\" x=\"([0-9.]+)\" y=\"[0-9.]+\" width=\"([0-9.]+)\" height=\"20\"")));
  const double x = std::stod(found[1]), width = std::stod(found[2]);
  EXPECT_NEAR(x + width, 886, 0.1) << "the last bar ends at the frame";
  ASSERT_TRUE(std::regex_search(
      svg, found, std::regex("bt-c0\" x=\"([0-9.]+)\" y=\"[0-9.]+\" width=\"([0-9.]+)\" height=\"20\"")));
  EXPECT_NEAR(std::stod(found[2]), width, 0.1);
  EXPECT_NEAR(std::stod(found[1]) + 1.5 * width, x, 0.1);
}

TEST(TimelineTest, AnEmptyOneIsDrawn) {
  EXPECT_THAT(render_svg(Timeline{.title = "none"}), HasSubstr("none: 0 lanes"));
}

std::string refusal(const Timeline& timeline) {
  try {
    validate(timeline);
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

TEST(TimelineTest, BarsThatCannotBeDrawnAreNamed) {
  Timeline backwards = two_lanes();
  backwards.lanes[1].bars[0].end = 1;
  EXPECT_THAT(refusal(backwards), AllOf(HasSubstr("lane \"rank 1\""), HasSubstr("from 40 to 1")));
  Timeline endless = two_lanes();
  endless.lanes[0].bars[0].end = std::numeric_limits<double>::infinity();
  EXPECT_THAT(refusal(endless), HasSubstr("finite times"));
  Timeline unknown = two_lanes();
  unknown.lanes[0].bars[0].kind = 2;
  EXPECT_THAT(refusal(unknown), HasSubstr("name 3 kinds"));
  Timeline colourful = two_lanes();
  colourful.kinds.resize(9);
  EXPECT_THAT(refusal(colourful), HasSubstr("there are 8 colours"));
}

}  // namespace
}  // namespace bunchtrain::plot
