// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The same bins for the histograms of two samples: as fine as both can fill.

#include "bunchtrain/metrics/shower_statistics.hpp"

namespace bunchtrain::metrics {

/// Joins neighbouring bins of the histograms of sampling fraction, hits and angle until about 40 of them span
/// what either sample fills. A few stray showers at the ends count in the outermost bins. Both sides must
/// have the same bins.
void share_bins(ShowerBinResult& reference, ShowerBinResult& candidate);

}  // namespace bunchtrain::metrics
