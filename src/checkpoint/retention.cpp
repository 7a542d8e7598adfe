// SPDX-License-Identifier: Apache-2.0
#include "retention.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <set>

namespace bunchtrain::checkpoint {
namespace {

using Chosen = std::set<const Manifest*>;

/// What one metric judged, the best first.
struct Ranking {
  const Manifest* newest;
  std::vector<const Manifest*> snapshots;
};

std::vector<Ranking> rank_by_metric(const std::vector<Manifest>& snapshots) {
  std::vector<Ranking> rankings;
  for (const Manifest& manifest : snapshots) {
    if (!manifest.info.metric) continue;
    auto ranking = std::ranges::find(rankings, manifest.metric_name,
                                     [](const Ranking& one) { return one.newest->metric_name; });
    if (ranking == rankings.end()) ranking = rankings.insert(rankings.end(), {&manifest, {}});
    ranking->snapshots.push_back(&manifest);
  }
  for (auto& [newest, ranked] : rankings) {
    const double sign = newest->higher_is_better ? 1 : -1;
    std::ranges::stable_sort(ranked, std::ranges::greater(),
                             [sign](const Manifest* manifest) { return sign * *manifest->info.metric; });
  }
  return rankings;
}

/// One that nothing has judged yet must not push out the last that is known to be good.
void keep_last(const std::vector<Manifest>& snapshots, int count, Chosen& kept) {
  const int least = snapshots.front().info.judged ? 1 : 2;
  const auto number = std::min(snapshots.size(), static_cast<std::size_t>(std::max(count, least)));
  for (std::size_t i = 0; i < number; ++i) kept.insert(&snapshots[i]);
}

/// From the oldest on, so that whether one stays does not depend on what came later.
void keep_one_every(const std::vector<Manifest>& snapshots, std::chrono::seconds span, Chosen& kept) {
  std::set<std::int64_t> filled;
  for (auto manifest = snapshots.rbegin(); manifest != snapshots.rend(); ++manifest) {
    if (!manifest->info.saved_at) continue;
    const std::int64_t seconds = manifest->info.saved_at->time_since_epoch().count();
    const std::int64_t index = seconds / span.count() - (seconds % span.count() < 0 ? 1 : 0);
    if (filled.insert(index).second) kept.insert(&*manifest);
  }
}

}  // namespace

std::vector<const Manifest*> find_bests(const std::vector<Manifest>& snapshots, int count) {
  std::vector<const Manifest*> bests;
  for (const Ranking& ranking : rank_by_metric(snapshots)) {
    const auto number = std::min(ranking.snapshots.size(), static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < number; ++i) bests.push_back(ranking.snapshots[i]);
  }
  return bests;
}

std::vector<const Manifest*> find_superfluous(const std::vector<Manifest>& snapshots,
                                              const StoreOptions& options) {
  if (snapshots.empty()) return {};
  Chosen kept;
  keep_last(snapshots, options.keep_last, kept);
  for (const Manifest* best : find_bests(snapshots, options.keep_best)) kept.insert(best);
  if (options.keep_every.count() > 0) keep_one_every(snapshots, options.keep_every, kept);
  std::vector<const Manifest*> superfluous;
  for (const Manifest& manifest : snapshots)
    if (!kept.contains(&manifest)) superfluous.push_back(&manifest);
  return superfluous;
}

}  // namespace bunchtrain::checkpoint
