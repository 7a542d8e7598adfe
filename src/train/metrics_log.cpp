// SPDX-License-Identifier: Apache-2.0
#include "metrics_log.hpp"

#include <fmt/format.h>

#include <utility>

namespace bunchtrain::train {

namespace fs = std::filesystem;

void MetricsLog::append(report::Record record) {
  kept_.push_back(std::move(record));
  if (kept_.size() > kMostKept) {
    kept_.pop_front();
    ++given_up_;
  }
  write_kept();
}

void MetricsLog::sync() {
  write_kept();
  if (writer_) writer_->sync();
}

void MetricsLog::write_kept() {
  if (!writer_) open();
  while (!kept_.empty()) {
    writer_->append(kept_.front());
    if (records_) records_->add(kept_.front());
    kept_.pop_front();
  }
  if (given_up_ > 0)
    logger_.warning(fmt::format("{} records of {} could not be kept and are missing there",
                                std::exchange(given_up_, 0), path_.string()));
}

void MetricsLog::open() {
  if (start_.step == 0) move_aside();
  writer_.emplace(path_);
  const auto bad_lines = writer_->truncate_after(start_.step, start_.epoch_anew);
  if (!bad_lines.empty())
    logger_.warning(
        fmt::format("{}: {} of its lines are no records and stay as they are; the first is line {}",
                    path_.string(), bad_lines.size(), bad_lines.front()));
  if (!records_) return;
  *records_ = {};
  records_->read(path_);
}

void MetricsLog::move_aside() const {
  std::error_code none;
  if (fs::file_size(path_, none) == 0 || none) return;
  fs::path aside;
  for (int number = 1; aside.empty() || fs::exists(aside); ++number)
    aside = path_.string() + fmt::format(".before-{}", number);
  fs::rename(path_, aside);
  logger_.warning(
      fmt::format("there is no snapshot to go on from: the run starts at step 0; what it recorded before "
                  "is kept in {}",
                  aside.string()));
}

}  // namespace bunchtrain::train
