// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Reads what a run folder holds, for its page.

#include <filesystem>
#include <string_view>

#include "bunchtrain/report/html_report.hpp"

namespace bunchtrain::report {

/// A report with what the text of run.json says; an empty text says nothing. @throws DataError
TrainingReport describe_run(const std::filesystem::path& run_folder, std::string_view run_json);

/// Reads metrics.jsonl, run.json and sections.json of a run folder; what is missing is left out of the report.
///
/// metrics.jsonl: records of kind "epoch" (`make_record`), "step" ("step", "loss", "learning_rate") and "validation"
/// (within an epoch: "step", "valid_loss", ...).
/// run.json: "name", "started", "machine", "summary" (object, shown at the top in its order), "environment"
/// (object), "configuration" (text or object), "card" (text), "samples" (what a sample is called); other
/// members are ignored. sections.json: `write_sections`.
/// @throws DataError if the folder is none of a run (neither metrics.jsonl nor
/// run.json) or a file is damaged.
TrainingReport read_run(const std::filesystem::path& run_folder);

}  // namespace bunchtrain::report
