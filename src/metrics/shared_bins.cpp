// SPDX-License-Identifier: Apache-2.0
#include "shared_bins.hpp"

#include <algorithm>
#include <cmath>

namespace bunchtrain::metrics {
namespace {

constexpr std::size_t kWantedBins = 40;
/// Part of the showers at either end that may not stretch the bins: it counts in the outermost ones.
constexpr double kTail = 0.002;

struct BinRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The bins that hold all but the tails; none if the histogram is empty.
BinRange bulk(const std::vector<double>& contents) {
  BinRange range{0, contents.size()};
  double below = 0, above = 0;
  while (range.begin < range.end && (below += contents[range.begin]) <= kTail) ++range.begin;
  while (range.begin < range.end && (above += contents[range.end - 1]) <= kTail) --range.end;
  return range;
}

/// Bins of a range joined in groups, the outermost ones with what lies beyond. Contents are shares p of n
/// showers, whose errors sqrt(p (1 - p) / (n - 1)) follow from the joined share.
ShowerHistogram join(const ShowerHistogram& fine, BinRange range, std::size_t group, double showers) {
  ShowerHistogram joined{.edges = {fine.edges[range.begin]}};
  for (std::size_t i = range.begin; i < range.end; i += group) {
    const std::size_t end = std::min(i + group, range.end);
    const std::size_t from = i == range.begin ? 0 : i;
    const std::size_t to = end == range.end ? fine.contents.size() : end;
    double share = 0;
    for (std::size_t k = from; k < to; ++k) share += fine.contents[k];
    joined.edges.push_back(fine.edges[end]);
    joined.contents.push_back(share);
    joined.errors.push_back(showers > 1 ? std::sqrt(std::max(0.0, share * (1 - share)) / (showers - 1))
                                        : 0.0);
  }
  return joined;
}

void share(ShowerHistogram& reference, ShowerHistogram& candidate, double reference_showers,
           double candidate_showers) {
  if (reference.contents.empty() || reference.contents.size() != candidate.contents.size()) return;
  const BinRange here = bulk(reference.contents), there = bulk(candidate.contents);
  if (here.begin == here.end || there.begin == there.end) return;
  BinRange range{std::min(here.begin, there.begin), std::max(here.end, there.end)};
  const std::size_t group = (range.end - range.begin + kWantedBins - 1) / kWantedBins;
  // Whole groups, so that all bins are equally wide where the histogram is long enough.
  range.end = std::min(reference.contents.size(),
                       range.begin + (range.end - range.begin + group - 1) / group * group);
  reference = join(reference, range, group, reference_showers);
  candidate = join(candidate, range, group, candidate_showers);
}

}  // namespace

void share_bins(ShowerBinResult& reference, ShowerBinResult& candidate) {
  const auto here = static_cast<double>(reference.showers), there = static_cast<double>(candidate.showers);
  share(reference.fraction_histogram, candidate.fraction_histogram, here, there);
  share(reference.hit_histogram, candidate.hit_histogram, here, there);
  share(reference.theta_histogram, candidate.theta_histogram, here, there);
}

}  // namespace bunchtrain::metrics
