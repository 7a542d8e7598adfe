// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Makes report.html from what a run folder holds.

#include <filesystem>

#include "bunchtrain/report/html_report.hpp"

namespace bunchtrain::report {

/// Reads metrics.jsonl, run.json and curves.json of a run folder; what is missing is left out of the report.
///
/// metrics.jsonl: records of kind "epoch" (`make_record`) and "step" ("step", "loss", "learning_rate").
/// run.json: "name", "started", "machine", "summary" (object, shown at the top in its order), "environment"
/// (object), "configuration" (text or object), "card" (text), "samples" (what a sample is called); other
/// members are ignored. curves.json: `write_evaluation`. sections.json: `write_sections`.
/// @throws DataError if the folder is none of a run (neither metrics.jsonl nor
/// run.json) or a file is damaged.
TrainingReport read_run(const std::filesystem::path& run_folder);

/// Writes report.html into the run folder atomically. Returns its path.
std::filesystem::path render_run(const std::filesystem::path& run_folder);

}  // namespace bunchtrain::report
