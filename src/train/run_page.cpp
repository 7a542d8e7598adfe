// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/run_page.hpp"

#include <fmt/format.h>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/metrics/detail/old_curves.hpp"
#include "bunchtrain/report/run_report.hpp"

namespace bunchtrain::train {

void keep_results(const RunFolder& folder, std::vector<report::Section> sections,
                  const report::EpochRow& row) {
  if (sections.empty()) return;
  sections.front().paragraphs.push_back(
      fmt::format("After epoch {}, step {}.", row.epoch, format_integer(row.step)));
  report::write_sections(folder.sections(), sections);
  std::filesystem::remove(folder.old_curves());
}

report::TrainingReport read_run(const std::filesystem::path& run_folder) {
  report::TrainingReport report = report::read_run(run_folder);
  const auto curves = run_folder / RunFolder::kOldCurves;
  if (!std::filesystem::exists(curves)) return report;
  std::vector<report::Section> sections = metrics::read_old_curves(curves, report.samples);
  sections.insert(sections.end(), report.sections.begin(), report.sections.end());
  report.sections = std::move(sections);
  return report;
}

std::filesystem::path render_run(const std::filesystem::path& run_folder) {
  const auto path = run_folder / "report.html";
  write_file_atomically(path, report::render_html(read_run(run_folder)));
  return path;
}

}  // namespace bunchtrain::train
