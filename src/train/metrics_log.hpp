// SPDX-License-Identifier: Apache-2.0
#pragma once
/// metrics.jsonl of a run, from which no record is lost because a disk is full for a while.

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/report/jsonl_writer.hpp"
#include "bunchtrain/report/run_records.hpp"

namespace bunchtrain::train {

/// Where a run takes its metrics up.
struct MetricsStart {
  std::int64_t step = 0;  ///< records of later steps are cut off; 0: a file with records is moved aside first
  bool epoch_anew = false;  ///< the record of the epoch that ends at `step` is written again
};

/// Opens the file at the first record. A record that cannot be written is kept in memory and goes before the
/// next one; of more than `kMostKept` the oldest are given up. `records`, if any, is given what the file holds:
/// of a resumed run what it held before, then each record as it is written. Not thread-safe.
class MetricsLog {
 public:
  static constexpr std::size_t kMostKept = 500'000;

  MetricsLog(std::filesystem::path path, MetricsStart start, Logger logger,
             report::RunRecords* records = nullptr)
      : path_(std::move(path)), start_(start), logger_(std::move(logger)), records_(records) {}

  /// @throws IoError, DataError; the record is kept.
  void append(report::Record record);
  /// What is kept, and fsync. @throws as `append`.
  void sync();

 private:
  void open();
  void move_aside() const;
  void write_kept();

  std::filesystem::path path_;
  MetricsStart start_;
  Logger logger_;
  report::RunRecords* records_;
  std::optional<report::JsonlWriter> writer_;
  std::deque<report::Record> kept_;
  std::int64_t given_up_ = 0;
};

}  // namespace bunchtrain::train
