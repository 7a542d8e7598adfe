// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A comparison of showers for people (page, terminal) and for programs (JSON).

#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/metrics/shower_comparison.hpp"
#include "bunchtrain/report/section.hpp"

namespace bunchtrain::shower_comparison {

/// Parts of a page: score, images of the reference next to the candidate, profiles, sampling fraction,
/// spectrum, hits, moments with pulls, angles, correlations. Both samples have the same marks everywhere:
/// points with errors are the reference, steps the candidate. @param verdict what stands on top.
std::vector<report::Section> to_sections(const metrics::ShowerComparison& comparison,
                                         const std::vector<std::string>& verdict = {});

/// Which bins a table shows.
enum class BinsShown { every, all_together };

/// Score and quantities as a table for the terminal.
std::string format_comparison(const metrics::ShowerComparison& comparison, BinsShown bins = BinsShown::every);

/// Every number of the comparison with its unit as JSON (format: docs/validate.md), written atomically;
/// numbers that are not finite become null. @throws DataError if the file cannot be written.
void write_comparison(const std::filesystem::path& path, const metrics::ShowerComparison& comparison,
                      const std::vector<std::string>& violations = {});
/// Whether a file was written by `write_comparison`.
bool is_comparison_file(const std::filesystem::path& path);

}  // namespace bunchtrain::shower_comparison
