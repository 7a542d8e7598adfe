// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/plot/heat_map.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <regex>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "support/markup_checker.hpp"

namespace bunchtrain::plot {
namespace {

using testing::HasSubstr;
using testing::Not;

const double kNan = std::nan("");

std::vector<std::vector<double>> make_grid(std::size_t rows, std::size_t columns) {
  std::vector<std::vector<double>> grid(rows, std::vector<double>(columns));
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column)
      grid[row][column] = std::fmod(static_cast<double>(row * 7919 + column * 104729), 1009.0);
  }
  return grid;
}

// The cells of a picture that are painted: how often each (column, row from the top) is covered.
std::vector<std::vector<int>> painted(const std::string& svg, std::size_t rows, std::size_t columns) {
  std::vector<std::vector<int>> count(rows, std::vector<int>(columns));
  // The map comes first, the colour bar has a drawing of its own.
  const std::string cells = svg.substr(svg.find("crispEdges"), svg.find("</svg>") - svg.find("crispEdges"));
  static const std::regex kRun("M(\\d+) (\\d+)h(\\d+)v1h-(\\d+)");
  for (std::sregex_iterator run(cells.begin(), cells.end(), kRun), end; run != end; ++run) {
    const std::size_t begin = std::stoul((*run)[1]), row = std::stoul((*run)[2]),
                      length = std::stoul((*run)[3]);
    EXPECT_EQ((*run)[3], (*run)[4]);
    for (std::size_t i = 0; i < length; ++i) ++count.at(row).at(begin + i);
  }
  return count;
}

TEST(HeatMapTest, IsWellFormedInEveryKind) {
  for (const bool print : {false, true}) {
    for (const bool diverging : {false, true}) {
      HeatMap map{.title = "E < 5 & more", .x_label = "x_1", .y_label = "y", .values = make_grid(4, 3)};
      map.diverging = diverging;
      map.print_values = print;
      map.scale = diverging ? Scale::linear : Scale::log;
      map.column_names = {"a", "b", "a very long name"};
      const std::string svg = render_svg(map);
      EXPECT_EQ(test::markup_fault(svg), "");
      EXPECT_THAT(svg, HasSubstr("E &lt; 5 &amp; more"));
      EXPECT_THAT(svg, HasSubstr("prefers-color-scheme:dark"));
      for (const char* wrong : {"nan", "inf", "NaN"}) EXPECT_THAT(svg, Not(HasSubstr(wrong)));
    }
  }
}

TEST(HeatMapTest, PaintsEveryCellOnceAndLeavesBlanks) {
  HeatMap map{.values = make_grid(5, 6)};
  map.values[1][2] = kNan;
  map.values[4][0] = std::numeric_limits<double>::infinity();
  const auto count = painted(render_svg(map), 5, 6);
  for (std::size_t row = 0; row < 5; ++row) {
    for (std::size_t column = 0; column < 6; ++column) {
      const int expected = std::isfinite(map.values[row][column]) ? 1 : 0;
      EXPECT_EQ(count[5 - 1 - row][column], expected) << row << ", " << column;
    }
  }
}

TEST(HeatMapTest, LeavesWhatALogScaleCannotShowBlank) {
  const HeatMap map{.values = {{0, -1, 1, 10}}, .scale = Scale::log};
  EXPECT_THAT(painted(render_svg(map), 1, 4)[0], testing::ElementsAre(0, 0, 1, 1));
}

TEST(HeatMapTest, NeighboursOfOneColourAreOneRectangle) {
  const HeatMap map{.values = {{1, 1, 1, 2, 2}}};
  const std::string svg = render_svg(map, SvgStyle::inline_html);
  EXPECT_THAT(svg, HasSubstr("<path class=\"bt-s0\" d=\"M0 0h3v1h-3\"/>"));
  EXPECT_THAT(svg, HasSubstr("<path class=\"bt-s64\" d=\"M3 0h2v1h-2\"/>"));
}

TEST(HeatMapTest, ValuesBeyondTheLimitsGetTheColourAtTheEnd) {
  HeatMap map{.values = {{-5, 0.5, 7}}};
  map.min = 0;
  map.max = 1;
  const std::string svg = render_svg(map, SvgStyle::inline_html);
  EXPECT_THAT(svg, HasSubstr("<path class=\"bt-s0\" d=\"M0 0h1"));
  EXPECT_THAT(svg, HasSubstr("<path class=\"bt-s32\" d=\"M1 0h1"));
  EXPECT_THAT(svg, HasSubstr("<path class=\"bt-s64\" d=\"M2 0h1"));
}

TEST(HeatMapTest, ADivergingScaleHasZeroInItsMiddle) {
  HeatMap map{.values = {{-0.25, 0, 1}}};
  map.diverging = true;
  const std::string svg = render_svg(map, SvgStyle::inline_html);
  EXPECT_THAT(svg, HasSubstr("<path class=\"bt-d32\" d=\"M1 0h1"));
  EXPECT_THAT(svg, HasSubstr("<path class=\"bt-d64\" d=\"M2 0h1"));
  EXPECT_THAT(svg, HasSubstr("<path class=\"bt-d24\" d=\"M0 0h1"));
}

TEST(HeatMapTest, LargePicturesStaySmall) {
  const std::string large = render_svg({.values = make_grid(51, 51)}, SvgStyle::inline_html);
  EXPECT_LT(large.size(), 60'000u);
  EXPECT_LT(render_svg({.values = make_grid(25, 25)}, SvgStyle::inline_html).size(), 20'000u);
  EXPECT_EQ(large.find("<image"), std::string::npos);
}

TEST(HeatMapTest, PrintsValuesReadably) {
  HeatMap map{.values = {{-1, 0.123456}, {0.5, kNan}}};
  map.diverging = map.print_values = true;
  const std::string svg = render_svg(map, SvgStyle::inline_html);
  for (const char* shown : {"-1.00</text>", "0.12</text>", "0.50</text>"}) EXPECT_THAT(svg, HasSubstr(shown));
  // Text on the strongest colour is as light as the paper.
  EXPECT_THAT(svg, testing::ContainsRegex("class=\"bt-over\">-1.00"));
  EXPECT_THAT(svg, Not(testing::ContainsRegex("class=\"bt-over\">0.12")));
}

TEST(HeatMapTest, NamesStandAtTheAxes) {
  HeatMap map{.values = {{1, 2}, {3, 4}}};
  map.row_names = {"first row", "second row"};
  map.column_names = {"short", "a name much too wide for its cell, which stands upright"};
  const std::string svg = render_svg(map, SvgStyle::inline_html);
  for (const char* name : {"first row", "second row", "short", "stands upright"})
    EXPECT_THAT(svg, HasSubstr(name));
  EXPECT_THAT(svg, HasSubstr("rotate(-90"));
}

TEST(HeatMapTest, TheLabelOfAnAxisStandsClearOfItsNumbers) {
  const auto height_of = [](const std::string& svg, const std::string& text) {
    const std::size_t end = svg.find(">" + text + "</text>"), begin = svg.rfind("<text", end);
    EXPECT_NE(end, std::string::npos) << text;
    return std::stod(svg.substr(svg.find("y=\"", begin) + 3));
  };
  for (const std::size_t cells : {3u, 25u, 51u, 200u}) {
    const std::string svg =
        render_svg({.x_label = "x [cell]", .values = make_grid(2, cells)}, SvgStyle::inline_html);
    EXPECT_GT(height_of(svg, "x [cell]") - height_of(svg, "0"), 12) << cells;
    EXPECT_LT(height_of(svg, "x [cell]"), 260 - 3) << cells;
  }
}

TEST(HeatMapTest, AwkwardValuesStillMakeAPicture) {
  const std::vector<std::vector<std::vector<double>>> awkward{
      {}, {{}}, {{kNan}}, {{0}}, {{3, 3}, {3, 3}}, {{1e-300, 1e300}}, {{-2, -1}}};
  for (const auto& values : awkward) {
    for (const Scale scale : {Scale::linear, Scale::log}) {
      const std::string svg = render_svg({.values = values, .scale = scale});
      EXPECT_EQ(test::markup_fault(svg), "");
      EXPECT_THAT(svg, Not(HasSubstr("nan")));
    }
  }
  EXPECT_THAT(render_svg(HeatMap{}), HasSubstr("no data"));
}

TEST(HeatMapTest, RefusesWhatDoesNotFit) {
  HeatMap ragged{.title = "slice", .values = {{1, 2}, {3}}};
  try {
    validate(ragged);
    FAIL() << "rows of unequal length were accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"slice\": row 1 has 1 values, row 0 has 2"));
  }
  HeatMap map{.values = {{1, 2}}};
  map.column_names = {"only one"};
  EXPECT_THROW(render_svg(map), ConfigError);
  map.column_names.clear();
  map.row_names = {"one", "too many"};
  EXPECT_THROW(render_svg(map), ConfigError);
  map.row_names.clear();
  map.scale = Scale::log;
  map.min = 0;
  EXPECT_THROW(render_svg(map), ConfigError);
  map.min.reset();
  map.diverging = true;
  EXPECT_THROW(render_svg(map), ConfigError);
}

// Lightness of a colour "#rrggbb" as the eye sees it (CIE L*, 0 to 100).
double lightness(const std::string& hex) {
  double luminance = 0;
  constexpr double kWeights[] = {0.2126, 0.7152, 0.0722};
  for (int i = 0; i < 3; ++i) {
    const double c = std::stoi(hex.substr(1 + 2 * i, 2), nullptr, 16) / 255.0;
    luminance += kWeights[i] * (c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4));
  }
  return luminance > 0.008856 ? 116 * std::cbrt(luminance) - 16 : 903.3 * luminance;
}

std::vector<double> lightness_of_levels(const std::string& rules, char scale) {
  std::vector<double> result;
  const std::regex rule("\\.bt-" + std::string(1, scale) + "(\\d+)\\{fill:(#[0-9a-f]{6})\\}");
  for (std::sregex_iterator match(rules.begin(), rules.end(), rule), end; match != end; ++match)
    result.push_back(lightness((*match)[2]));
  return result;
}

TEST(HeatMapTest, ColoursGoFromThePageAwayInEvenSteps) {
  const std::string css = heat_map_style_sheet();
  const std::size_t dark_at = css.find("@media");
  const auto light = lightness_of_levels(css.substr(0, dark_at), 's'),
             dark = lightness_of_levels(css.substr(dark_at), 's');
  ASSERT_EQ(light.size(), 65u);
  ASSERT_EQ(dark.size(), 65u);
  const double step = (light.front() - light.back()) / 64;
  EXPECT_GT(step, 0.9);
  for (std::size_t i = 1; i < light.size(); ++i) {
    EXPECT_NEAR(light[i - 1] - light[i], step, 0.75) << "level " << i;
    EXPECT_GT(dark[i], dark[i - 1]);
  }
  EXPECT_LT(dark.front(), 35);
  EXPECT_GT(light.front(), 85);
}

TEST(HeatMapTest, DivergingColoursAreEquallyStrongOnBothSides) {
  const std::string css = heat_map_style_sheet();
  const std::size_t dark_at = css.find("@media");
  for (const std::string& rules : {css.substr(0, dark_at), css.substr(dark_at)}) {
    const auto levels = lightness_of_levels(rules, 'd');
    ASSERT_EQ(levels.size(), 65u);
    for (std::size_t i = 0; i < 32; ++i) EXPECT_NEAR(levels[i], levels[64 - i], 8) << "level " << i;
  }
}

}  // namespace
}  // namespace bunchtrain::plot
