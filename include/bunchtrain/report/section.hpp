// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Parts of a page that know nothing of what they show: text, tables, plots and pictures under a heading.

#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/plot/heat_map.hpp"
#include "bunchtrain/plot/svg_plot.hpp"

namespace bunchtrain::report {

/// A table of texts; the first column is left-aligned, the others right.
struct SectionTable {
  std::vector<std::string> header = {};
  std::vector<std::vector<std::string>> rows = {};
};

/// Pictures that belong together: one row on a wide page, with a caption.
struct PictureRow {
  std::string caption = {};
  std::vector<plot::HeatMap> pictures = {};
};

/// One heading of a page, in this order: text, table, plots, pictures. Whatever is empty is left out.
struct Section {
  std::string title = {};
  std::vector<std::string> paragraphs = {};
  SectionTable table = {};
  std::vector<plot::Plot> plots = {};
  std::vector<PictureRow> pictures = {};
};

/// @throws ConfigError naming the table, plot or picture whose parts do not fit each other.
void validate(const Section& section);

/// Writes sections as JSON atomically (a run folder's sections.json). NaN becomes null.
/// @throws ConfigError as `validate`: what could not be drawn is not written.
void write_sections(const std::filesystem::path& path, const std::vector<Section>& sections);
/// @throws DataError naming the file and the fault, also for members that are missing or not known.
std::vector<Section> read_sections(const std::filesystem::path& path);

/// A page of its own: no external resource, no script, light and dark, printable.
struct Page {
  std::string title = {};
  std::string subtitle = {};
  std::vector<Section> sections = {};
};
std::string render_html(const Page& page);
/// Whether a file is a page that bunchtrain made, also a run's report.
bool is_page(const std::filesystem::path& path);

}  // namespace bunchtrain::report
