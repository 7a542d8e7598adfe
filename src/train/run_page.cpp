// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/run_page.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/metrics/detail/old_curves.hpp"
#include "bunchtrain/report/run_report.hpp"
#include "snapshot_pacer.hpp"

namespace bunchtrain::train {

std::vector<report::Section> keep_results(const RunFolder& folder, std::vector<report::Section> sections,
                                          const report::EpochRow& row) {
  if (sections.empty()) return sections;
  sections.front().paragraphs.push_back(
      fmt::format("After epoch {}, step {}.", row.epoch, format_integer(row.step)));
  report::write_sections(folder.sections(), sections);
  std::filesystem::remove(folder.old_curves());
  return sections;
}

std::vector<report::Section> read_results(const std::filesystem::path& run_folder,
                                          const std::string& samples) {
  std::vector<report::Section> results;
  if (const auto curves = run_folder / RunFolder::kOldCurves; std::filesystem::exists(curves))
    results = metrics::read_old_curves(curves, samples);
  if (const auto path = run_folder / "sections.json"; std::filesystem::exists(path))
    for (report::Section& section : report::read_sections(path)) results.push_back(std::move(section));
  return results;
}

report::TrainingReport read_run(const std::filesystem::path& run_folder) {
  report::TrainingReport report = report::read_run(run_folder);
  report.sections = read_results(run_folder, report.samples);
  if (const auto description = run_folder / "run.json"; std::filesystem::exists(description))
    if (auto pace = pace_section(read_text_file(description))) report.sections.push_back(std::move(*pace));
  return report;
}

std::filesystem::path render_run(const std::filesystem::path& run_folder) {
  const auto path = run_folder / "report.html";
  write_file_atomically(path, report::render_html(read_run(run_folder)));
  return path;
}

}  // namespace bunchtrain::train
