// SPDX-License-Identifier: Apache-2.0
#include "part_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {

std::string name_files(const std::string& first, std::size_t count) {
  return count == 1 ? std::filesystem::path(first).filename().string() : fmt::format("{} files", count);
}

std::vector<std::string> collect_paths(const std::vector<std::vector<std::string>>& files) {
  std::vector<std::string> lines;
  std::vector<std::size_t> counts;
  for (const auto& file : files) {
    for (const auto& line : file) {
      const auto known = std::find(lines.begin(), lines.end(), line);
      if (known == lines.end()) {
        lines.push_back(line);
        counts.push_back(1);
      } else {
        ++counts[static_cast<std::size_t>(known - lines.begin())];
      }
    }
  }
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (counts[i] != files.size()) lines[i] += fmt::format(" ({} of {} files)", counts[i], files.size());
  return lines;
}

SplitPart part_of(const SplitOptions& options, const char* name) {
  return {.name = name, .valid_fraction = options.valid_fraction, .seed = options.seed};
}

std::int64_t log_filled_rows(const std::string& path, std::size_t rows, const RowSpans& filled,
                             const Logger& logger) {
  const std::uint64_t count = count_rows(filled);
  if (count > 0)
    logger.warning(fmt::format("{}: {} of {} rows were never written and are read as the fill value: {}",
                               path, count, rows, to_string(filled)));
  return static_cast<std::int64_t>(count);
}

void check_fraction(const SplitOptions& options) {
  if (!(options.valid_fraction >= 0 && options.valid_fraction < 1))
    throw ConfigError("valid-fraction", fmt::format("{}", options.valid_fraction),
                      "a number from 0 to below 1");
}

void require_parts(const DatasetSplit& split, const SplitOptions& options, const std::string& noun) {
  const std::int64_t train = split.train->size(), valid = split.valid->size();
  if (train == 0 || (valid == 0 && options.valid_fraction > 0))
    throw ConfigError(
        "valid-fraction", fmt::format("{}", options.valid_fraction),
        fmt::format(
            "one that leaves both parts some of the {} {} (now {} and {}); give more data or another seed",
            train + valid, noun, train, valid));
}

}  // namespace bunchtrain::data
