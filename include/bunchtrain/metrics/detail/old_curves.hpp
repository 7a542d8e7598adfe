// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Reads curves.json, in which run folders kept the results of classifiers up to version 0.1 and in the first
/// months of 0.2. Nothing writes it any more.

#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/report/section.hpp"

namespace bunchtrain::metrics {

/// Whether a file begins as these do.
bool is_old_curves_file(const std::filesystem::path& path);

/// The sections that the same result would have today, as far as the file knows it.
/// @throws DataError naming the file and the fault.
std::vector<report::Section> read_old_curves(const std::filesystem::path& path, const std::string& samples);

}  // namespace bunchtrain::metrics
