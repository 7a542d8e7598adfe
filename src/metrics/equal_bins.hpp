// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Bins of about equal numbers of samples.

#include <cstdint>
#include <span>
#include <vector>

namespace bunchtrain::metrics {

/// n + 1 edges of up to `bins` bins that hold about as many of the ascending values each; fewer where values
/// repeat, none without values or if all are the same.
std::vector<double> equally_filled_edges(std::span<const double> ascending, std::int64_t bins);

}  // namespace bunchtrain::metrics
