// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the page of a run shows of its records.

#include <filesystem>
#include <memory>
#include <string_view>

#include "bunchtrain/report/html_report.hpp"
#include "bunchtrain/report/record.hpp"

namespace bunchtrain::report {

/// Whether records of steps have a field of this name themselves: "loss", "learning_rate", "loss_..." ... Any
/// other number that a step records is one that the program logs.
bool is_own_step_field(std::string_view name) noexcept;

/// Takes records one by one, as they are written to metrics.jsonl or as they are read from it, with the same
/// result. Steps, and validations within epochs, are thinned as they come: memory grows with the epochs of a
/// run alone. Not thread-safe.
class RunRecords {
 public:
  RunRecords();
  ~RunRecords();
  RunRecords(RunRecords&&) noexcept;
  RunRecords& operator=(RunRecords&&) noexcept;

  /// A record of a kind that no page shows is passed over.
  void add(const Record& record);
  /// All of a file. Lines that are no records are counted and told on the page. @throws as `visit_jsonl`
  void read(const std::filesystem::path& metrics);
  /// Sets epochs, steps and validations, and adds to the environment how many lines could not be read.
  void show_in(TrainingReport& report) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::report
