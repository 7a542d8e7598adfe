// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Parts of a page that know nothing of what they show: text, tables, plots and pictures under a heading.

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/plot/heat_map.hpp"
#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::report {

/// A number that heads a page: {"1/ε_B at ε_S = 50 %", "333.3 ± 111.1"}. "_B" in the label is a subscript.
struct SectionNumber {
  std::string label = {};
  std::string value = {};
};

/// A table of texts. The first column and columns of words are left-aligned, the others right; "_B" in a
/// heading is a subscript.
struct SectionTable {
  std::vector<std::string> header = {};
  std::vector<std::vector<std::string>> rows = {};
};

/// Pictures that belong together: one row on a wide page, with a caption.
struct PictureRow {
  std::string caption = {};
  std::vector<plot::HeatMap> pictures = {};
};

/// One heading of a page, in this order: text, table, plots, pictures; its numbers stand at the head of the
/// page. Whatever is empty is left out.
struct Section {
  std::string title = {};
  std::vector<std::string> paragraphs = {};
  SectionTable table = {};
  std::vector<plot::Plot> plots = {};
  std::vector<PictureRow> pictures = {};
  std::vector<SectionNumber> numbers = {};
};

/// @throws ConfigError naming the table, plot or picture whose parts do not fit each other.
void validate(const Section& section);

/// Writes sections as JSON atomically (a run folder's sections.json). NaN becomes null.
/// @throws ConfigError as `validate`: what could not be drawn is not written.
void write_sections(const std::filesystem::path& path, const std::vector<Section>& sections);
/// Whether a file was written by `write_sections`.
bool is_sections_file(const std::filesystem::path& path);
/// @throws DataError naming the file and the fault, also for members that are missing or not known.
std::vector<Section> read_sections(const std::filesystem::path& path);

/// Text and table of a section for a terminal of `width` columns, 0 = any number.
std::string format_text(const Section& section, std::size_t width);

/// A page of its own: no external resource, light and dark, printable. A small script shows values beside the
/// pointer; the page needs it for nothing else.
struct Page {
  std::string title = {};
  std::string subtitle = {};
  std::vector<Section> sections = {};
};
std::string render_html(const Page& page);
/// Whether a file is a page that bunchtrain made, also a run's report.
bool is_page(const std::filesystem::path& path);

}  // namespace bunchtrain::report
