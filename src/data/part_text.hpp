// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a part of a dataset says about itself.

#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "storage/row_spans.hpp"

namespace bunchtrain::data {

/// "toptagging_train.h5" or "12 files". @param first path of the first one
std::string name_files(const std::string& first, std::size_t count);

/// A line of every dataset and way of reading, once, with the number of files if not all share it.
/// @param lines of each file
std::vector<std::string> collect_paths(const std::vector<std::vector<std::string>>& lines);

/// The part of a split by its name.
SplitPart part_of(const SplitOptions& options, const char* name);

/// Says which rows of a file are read as the fill value, if any. @return their number
std::int64_t log_filled_rows(const std::string& path, std::size_t rows, const RowSpans& filled,
                             const Logger& logger);

/// @throws ConfigError for a fraction that none can be.
void check_fraction(const SplitOptions& options);

/// @throws ConfigError if a part of a split is empty. @param noun "jets"
void require_parts(const DatasetSplit& split, const SplitOptions& options, const std::string& noun);

}  // namespace bunchtrain::data
