// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which snapshots stay, as a function of their manifests.

#include <vector>

#include "bunchtrain/checkpoint/store.hpp"
#include "manifest.hpp"

namespace bunchtrain::checkpoint {

/// The `count` best snapshots by each metric that judged any, the best first, the metric of the newest judgement first: values
/// of two metrics cannot be compared. Of equals the newer is better.
/// @param snapshots the latest first
std::vector<const Manifest*> find_bests(const std::vector<Manifest>& snapshots, int count = 1);

/// Those that no rule of `options` keeps.
/// @param snapshots the latest first
std::vector<const Manifest*> find_superfluous(const std::vector<Manifest>& snapshots,
                                              const StoreOptions& options);

}  // namespace bunchtrain::checkpoint
