// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/section.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "support/markup_checker.hpp"
#include "temporary_folder.hpp"

namespace bunchtrain::report {
namespace {

using testing::HasSubstr;
using testing::Not;

Section make_section() {
  Section section{.title = "Showers <physics>", .paragraphs = {"100 GeV & more.", "Second."}};
  section.table = {.header = {"Moment", "real", "generated"}, .rows = {{"σ_x", "2.31", "2.40"}}};
  plot::Series points{
      .label = "real", .mark = plot::Mark::points, .x = {1, 2}, .y = {1, std::nan("")}, .error = {0.1, 0.2}};
  points.color = 3;
  points.faint = true;
  section.plots = {{.title = "Longitudinal profile",
                    .x = {.label = "layer", .max = 24, .integers = true},
                    .y = {.label = "E [GeV]", .scale = plot::Scale::log, .min = 1e-3},
                    .series = {points}}};
  plot::HeatMap map{.title = "real", .x_label = "x", .y_label = "z", .values = {{1, std::nan("")}, {3, 4}}};
  map.row_names = {"low", "high"};
  map.max = 5;
  section.pictures = {{.caption = "At the same energy.", .pictures = {map, map}}};
  return section;
}

/// Members of later versions; files without them stay readable.
Section make_numbered() {
  Section section{.title = "Results"};
  section.numbers = {{"AUC", "0.98"}};
  section.plots = {{.title = "p", .series = {{.x = {1}, .y = {1}}}, .caption = "below"}};
  return section;
}

class SectionTest : public TemporaryFolder {
 protected:
  std::filesystem::path file() const { return folder_ / "sections.json"; }
  // The fault that reading `text` reports.
  std::string fault_of(const std::string& text) const {
    write("sections.json", text);
    try {
      read_sections(file());
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(file().string()));
      return error.what();
    }
    return "none";
  }
  // The file with its first `from` replaced.
  std::string written_with(const std::string& from, const std::string& to) const {
    write_sections(file(), {make_section()});
    std::string text = read("sections.json");
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }
};

TEST_F(SectionTest, FilesOfVersion01LackSomeMembers) {
  write_sections(file(), {make_numbered()});
  EXPECT_TRUE(is_sections_file(file()));
  EXPECT_EQ(read_sections(file()).at(0).numbers.at(0).value, "0.98");
  EXPECT_EQ(read_sections(file()).at(0).plots.at(0).caption, "below");
  std::string text = read("sections.json");
  for (const std::string added :
       {R"(,"numbers":[{"label":"AUC","value":"0.98"}])", R"(,"caption":"below")"}) {
    const std::size_t at = text.find(added);
    ASSERT_NE(at, std::string::npos) << added;
    text.erase(at, added.size());
  }
  write("sections.json", text);
  EXPECT_TRUE(read_sections(file()).at(0).numbers.empty());
  EXPECT_EQ(read_sections(file()).at(0).plots.at(0).caption, "");
  write("sections.json", "[1]");
  EXPECT_FALSE(is_sections_file(file()));
}

TEST_F(SectionTest, TextForATerminalHasTextAndTable) {
  Section section = make_section();
  section.table.header = {"Moment", "1/ε_B", "valid_auc"};
  const std::string text = format_text(section, 0);
  for (const char* part : {"100 GeV & more.\n", "1/εB", "valid_auc", "σ_x", "2.40"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_EQ(format_text({.title = "empty"}, 80), "");
}

TEST_F(SectionTest, ColumnsOfWordsStandAtTheLeft) {
  Section section{.title = "t"};
  section.table = {.header = {"Signal", "Background", "AUC"},
                   .rows = {{"top", "all others", "-"}, {"w", "qcd", "0.9"}}};
  const std::string html = render_html(Page{.title = "p", .sections = {section}});
  for (const char* part : {"<th>Background</th>", "<td>qcd</td>", "<th class=\"number\">AUC</th>"})
    EXPECT_THAT(html, HasSubstr(part));
}

TEST_F(SectionTest, SurvivesTheFile) {
  const Section section = make_section();
  write_sections(file(), {section, {.title = "empty"}});
  const std::vector<Section> back = read_sections(file());
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[1].title, "empty");
  EXPECT_EQ(back[0].title, section.title);
  EXPECT_EQ(back[0].paragraphs, section.paragraphs);
  EXPECT_EQ(back[0].table.header, section.table.header);
  EXPECT_EQ(back[0].table.rows, section.table.rows);
  const plot::Plot& plot = back[0].plots.at(0);
  EXPECT_EQ(plot.title, "Longitudinal profile");
  EXPECT_EQ(plot.y.scale, plot::Scale::log);
  EXPECT_EQ(plot.y.min, 1e-3);
  EXPECT_FALSE(plot.x.min.has_value());
  EXPECT_TRUE(plot.x.integers);
  const plot::Series& series = plot.series.at(0);
  EXPECT_EQ(series.mark, plot::Mark::points);
  EXPECT_EQ(series.x, section.plots[0].series[0].x);
  EXPECT_TRUE(std::isnan(series.y[1]));
  EXPECT_EQ(series.color, 3);
  EXPECT_TRUE(series.faint);
  const plot::HeatMap& map = back[0].pictures.at(0).pictures.at(1);
  EXPECT_EQ(map.values[1], (std::vector<double>{3, 4}));
  EXPECT_TRUE(std::isnan(map.values[0][1]));
  EXPECT_EQ(map.row_names, (std::vector<std::string>{"low", "high"}));
  EXPECT_EQ(map.max, 5);
}

TEST_F(SectionTest, ReadsBackTheSameBits) {
  Section section{.title = "numbers"};
  section.plots = {{.series = {{.x = {1.0 / 3, 1e-308, 6.02214076e23}, .y = {-0.0, 0.1, 1e300}}}}};
  write_sections(file(), {section});
  const plot::Series series = read_sections(file()).at(0).plots.at(0).series.at(0);
  EXPECT_EQ(series.x, section.plots[0].series[0].x);
  EXPECT_EQ(series.y, section.plots[0].series[0].y);
}

TEST_F(SectionTest, TheSamePageComesOutOfTheFile) {
  const std::vector<Section> sections{make_section()};
  write_sections(file(), sections);
  EXPECT_EQ(render_html(Page{.title = "t", .sections = read_sections(file())}),
            render_html(Page{.title = "t", .sections = sections}));
}

TEST_F(SectionTest, EveryCutOfTheFileIsRefused) {
  write_sections(file(), {make_section()});
  const std::string text = read("sections.json");
  const std::size_t whole = text.find_last_of(']') + 1;
  for (std::size_t length = 0; length < whole; length += 7)
    EXPECT_NE(fault_of(text.substr(0, length)), "none") << length;
}

// Whatever a damaged byte does: a fault that names the file, or sections that can be drawn.
TEST_F(SectionTest, NoDamageGetsAsFarAsThePage) {
  write_sections(file(), {make_section()});
  const std::string text = read("sections.json");
  std::size_t refused = 0, tried = 0;
  for (std::size_t at = 0; at < text.size(); at += 13) {
    for (const char damage : {'"', '9', '-', '[', '}', 'n', '\0', '\xff'}) {
      ++tried;
      std::string damaged = text;
      damaged[at] = damage;
      if (fault_of(damaged) != "none") {
        ++refused;
      } else {
        EXPECT_EQ(test::markup_fault(render_html(Page{.sections = read_sections(file())})), "") << damaged;
      }
    }
  }
  EXPECT_GT(2 * refused, tried);
}

TEST_F(SectionTest, FaultsSayWhereTheyAre) {
  struct Damage {
    const char* from;
    const char* to;
    const char* fault;
  };
  const Damage damages[] = {
      {"\"Showers <physics>\"", "7", "sections[0].title must be a text"},
      {"\"points\"", "\"dots\"", "sections[0].plots[0].series[0].mark is \"dots\", which is not known"},
      {"\"log\"", "3", "sections[0].plots[0].y.scale must be a text"},
      {"[1.0,2.0]", "[1.0,\"2\"]", "sections[0].plots[0].series[0].x[1] must be a number or null"},
      {"[1.0,2.0]", "[1.0]", "1 x values do not fit 2 y values"},
      {"\"caption\"", "\"Caption\"", "sections[0].pictures[0].caption is missing"},
      {"\"caption\"", "\"extra\":1,\"caption\"", "sections[0].pictures[0] has 3 members, 2 are known"},
      {"[3.0,4.0]", "[3.0]", "row 1 has 1 values, row 0 has 2"},
      {"[3.0,4.0]", "{\"a\":1}", "values[1] must be a list"},
      {"[\"σ_x\",\"2.31\",\"2.40\"]", "[\"σ_x\"]", "a row of 1 cells below 3 headings"},
      {"\"width\":640", "\"width\":0", "0 x 400 pixels"},
      {"\"width\":640", "\"width\":6e2", "sections[0].plots[0].width must be a whole number"},
      {"\"width\":640", "\"width\":99999999999999999999", "width must be a whole number"},
      {"\"width\":640", "\"width\":2000000000", "2000000000 x 400 pixels"},
      {"\"faint\":true", "\"faint\":1", "faint must be true or false"}};
  for (const Damage& damage : damages)
    EXPECT_THAT(fault_of(written_with(damage.from, damage.to)), HasSubstr(damage.fault)) << damage.to;
  EXPECT_THAT(fault_of("{}"), HasSubstr("sections must be a list"));
  EXPECT_THAT(fault_of("[[]]"), HasSubstr("sections[0] must be an object"));
  EXPECT_THAT(fault_of(std::string(200'000, '[')), HasSubstr("not JSON"));
}

TEST_F(SectionTest, WhatCannotBeDrawnIsNotWritten) {
  Section ragged = make_section();
  ragged.pictures[0].pictures[1].values[0].push_back(1);
  EXPECT_THROW(write_sections(file(), {ragged}), ConfigError);
  Section uneven = make_section();
  uneven.table.rows[0].pop_back();
  EXPECT_THROW(write_sections(file(), {uneven}), ConfigError);
  Section short_errors = make_section();
  short_errors.plots[0].series[0].error.pop_back();
  EXPECT_THROW(write_sections(file(), {short_errors}), ConfigError);
  EXPECT_FALSE(std::filesystem::exists(file()));
}

TEST(PageTest, ShowsEveryPart) {
  const std::string html =
      render_html(Page{.title = "a <b>", .subtitle = "today", .sections = {make_section()}});
  EXPECT_EQ(test::markup_fault(html), "");
  for (const char* part : {"<h1>a &lt;b&gt;</h1>", "today", "Showers &lt;physics&gt;", "100 GeV &amp; more.",
                           "<th class=\"number\">generated</th>", "<td class=\"number\">2.40</td>",
                           "<h3>Longitudinal profile</h3>", "At the same energy.", "bt-s64"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
}

TEST(PageTest, FoldsLongTables) {
  Section section{.title = "t", .table = {.header = {"a"}}};
  section.table.rows.assign(30, {"x"});
  EXPECT_THAT(render_html(Page{.sections = {section}}), Not(HasSubstr("<details>")));
  section.table.rows.push_back({"x"});
  const std::string html = render_html(Page{.sections = {section}});
  EXPECT_EQ(test::markup_fault(html), "");
  EXPECT_THAT(html, HasSubstr("<details><summary>Table of 31 rows</summary>"));
}

TEST(PageTest, LeavesOutWhatIsEmpty) {
  const std::string html = render_html(Page{.title = "t", .sections = {{.title = "nothing"}}});
  EXPECT_EQ(test::markup_fault(html), "");
  for (const char* absent : {"nothing", "<svg", "<table", "<figure"})
    EXPECT_THAT(html, Not(HasSubstr(absent)));
}

TEST(PageTest, NeedsNothingFromOutside) {
  std::string html = render_html(Page{.title = "t", .sections = {make_section()}});
  const std::string name_space = "http://www.w3.org/2000/svg";
  for (std::size_t at; (at = html.find(name_space)) != std::string::npos;) html.erase(at, name_space.size());
  for (const char* outside : {"http:", "https:", "src=", "href=", "@import", "url(", "<script "})
    EXPECT_THAT(html, Not(HasSubstr(outside)));
}

}  // namespace
}  // namespace bunchtrain::report
