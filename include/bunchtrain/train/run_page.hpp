// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The results that a run folder keeps, and its page.

#include <filesystem>
#include <vector>

#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/report/html_report.hpp"
#include "bunchtrain/report/section.hpp"
#include "bunchtrain/train/run_folder.hpp"

namespace bunchtrain::train {

/// Keeps what the validation after an epoch found (sections.json), with a word on when that was. An older
/// run's curves.json goes: what it says is past. Nothing happens without sections. Returns what it kept.
std::vector<report::Section> keep_results(const RunFolder& folder, std::vector<report::Section> sections,
                                          const report::EpochRow& row);

/// What was kept: the results of the last validation. @param samples what a sample is called.
/// @throws DataError for a damaged file.
std::vector<report::Section> read_results(const std::filesystem::path& run_folder,
                                          const std::string& samples);

/// What a run folder holds, also one of version 0.1, whose results are in curves.json.
/// @throws DataError as `report::read_run`.
report::TrainingReport read_run(const std::filesystem::path& run_folder);

/// Writes report.html into the run folder atomically. Returns its path. @throws DataError as `read_run`.
std::filesystem::path render_run(const std::filesystem::path& run_folder);

}  // namespace bunchtrain::train
