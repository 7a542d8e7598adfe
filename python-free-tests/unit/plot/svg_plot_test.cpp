// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/plot/svg_plot.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "bunchtrain/core/error.hpp"
#include "support/markup_checker.hpp"

namespace bunchtrain::plot {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Plot one_series(Series series) {
  return {.x = {.label = "x [GeV]"}, .y = {.label = "y"}, .series = {std::move(series)}};
}

TEST(TicksTest, AreRound) {
  EXPECT_THAT(make_ticks(0, 1, 5),
              ElementsAre(0, testing::DoubleNear(0.2, 1e-12), testing::DoubleNear(0.4, 1e-12),
                          testing::DoubleNear(0.6, 1e-12), testing::DoubleNear(0.8, 1e-12), 1));
  EXPECT_THAT(make_ticks(-3, 12, 4), ElementsAre(0, 5, 10));
  EXPECT_THAT(make_ticks(7, 7, 4), ElementsAre(7));
}

TEST(TicksTest, LogTicksArePowersOfTen) {
  EXPECT_THAT(make_log_ticks(0.5, 2000), ElementsAre(1, 10, 100, 1000));
  EXPECT_TRUE(make_log_ticks(0, 10).empty());
  EXPECT_TRUE(make_log_ticks(-1, 10).empty());
}

TEST(SvgPlotTest, EveryMarkIsWellFormed) {
  for (Mark mark : {Mark::line, Mark::points, Mark::steps, Mark::bars, Mark::band}) {
    for (Scale scale : {Scale::linear, Scale::log}) {
      Series series{.label = "a < b & c",
                    .mark = mark,
                    .x = {1, 2, 3},
                    .y = {1, 10, 5},
                    .error = {0.5, 20, 1},
                    .filled = true};
      if (mark == Mark::steps) series.x.push_back(4);
      Plot plot = one_series(series);
      plot.y.scale = scale;
      const std::string svg = render_svg(plot);
      EXPECT_EQ(test::markup_fault(svg), "") << svg;
      EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
      EXPECT_THAT(svg, Not(HasSubstr("nan")));
      EXPECT_THAT(svg, Not(HasSubstr("inf")));
    }
  }
}

TEST(SvgPlotTest, HolesInterruptALine) {
  const std::string svg = render_svg(one_series({.x = {0, 1, 2, 3}, .y = {1, std::nan(""), 3, 4}}));
  const std::string path = svg.substr(svg.find("class=\"bt-line\" d=\""));
  const std::string line = path.substr(0, path.find("/>"));
  EXPECT_EQ(std::count(line.begin(), line.end(), 'M'), 2);
  EXPECT_EQ(std::count(line.begin(), line.end(), 'L'), 1);
}

TEST(SvgPlotTest, AwkwardDataStillMakeAPlot) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<Series> awkward{{.x = {1}, .y = {1}},
                                    {.x = {1, 2}, .y = {5, 5}},
                                    {.x = {1, 2}, .y = {0, 0}},
                                    {.x = {1, 2}, .y = {std::nan(""), infinity}},
                                    {.x = {1, 2}, .y = {1e-300, 1e300}},
                                    {.x = {1e9, 1e9 + 1}, .y = {-4, -3}}};
  for (const Series& series : awkward) {
    for (Scale scale : {Scale::linear, Scale::log}) {
      Plot plot = one_series(series);
      plot.y.scale = plot.x.scale = scale;
      const std::string svg = render_svg(plot);
      EXPECT_EQ(test::markup_fault(svg), "");
      EXPECT_EQ(svg.find("nan"), std::string::npos) << "series " << &series - awkward.data();
      EXPECT_LT(svg.size(), 100'000u);
    }
  }
}

TEST(SvgPlotTest, NoDataIsSaid) { EXPECT_THAT(render_svg({}), HasSubstr("no data")); }

TEST(SvgPlotTest, BarsStandOnOneAnother) {
  Plot plot{.series = {{.label = "a", .mark = Mark::bars, .x = {1, 2}, .y = {1, 1}},
                       {.label = "b", .mark = Mark::bars, .x = {1, 2}, .y = {2, 2}}}};
  EXPECT_THAT(render_svg(plot), HasSubstr("bt-bar"));
  plot.series[1].x = {1, 3};
  EXPECT_THROW(render_svg(plot), ConfigError);
}

TEST(SvgPlotTest, LengthsMustFit) {
  EXPECT_THROW(render_svg(one_series({.x = {1, 2}, .y = {1}})), ConfigError);
  EXPECT_THROW(render_svg(one_series({.mark = Mark::steps, .x = {1, 2}, .y = {1, 2}})), ConfigError);
  EXPECT_THROW(render_svg(one_series({.mark = Mark::band, .x = {1, 2}, .y = {1, 2}})), ConfigError);
  EXPECT_THROW(render_svg(one_series({.mark = Mark::points, .x = {1, 2}, .y = {1, 2}, .error = {1}})),
               ConfigError);
}

TEST(SvgPlotTest, LabelsMayHaveSubscripts) {
  Plot plot = one_series({.x = {1, 2}, .y = {1, 2}});
  plot.x.label = "Jet p_T [GeV]";
  plot.y.label = "valid_auc";
  const std::string svg = render_svg(plot);
  EXPECT_THAT(svg, HasSubstr("Jet p<tspan"));
  EXPECT_THAT(svg, HasSubstr("valid_auc</text>"));
}

TEST(SvgPlotTest, TheAccessibleNameSaysWhatIsShown) {
  EXPECT_THAT(render_svg(one_series({.label = "train", .x = {1}, .y = {1}})),
              HasSubstr("aria-label=\"y against x [GeV]: train\""));
}

TEST(SvgPlotTest, ALegendWithoutRoomInsideGoesAbove) {
  Plot plot;
  for (int i = 0; i < 12; ++i)
    plot.series.push_back({.label = "series with a long name", .x = {0, 1}, .y = {0.1 * i, 0.1 * (11 - i)}});
  const std::string svg = render_svg(plot);
  EXPECT_EQ(test::markup_fault(svg), "");
  std::size_t entries = 0;
  for (std::size_t at = 0; (at = svg.find("series with a long name</text>", at)) != std::string::npos; ++at)
    ++entries;
  EXPECT_EQ(entries, 12u);
}

}  // namespace
}  // namespace bunchtrain::plot
