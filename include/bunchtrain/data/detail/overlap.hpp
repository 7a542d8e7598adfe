// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Whether two datasets share rows: what validates a network must not have trained it.

#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"

namespace bunchtrain::data {

/// A file behind two datasets, under the names that they know it by.
struct SharedFile {
  std::string first;
  std::string second;
};

/// Files that both datasets read: the same one, a link to it, or a copy (by fingerprint). The two parts of
/// one `split` share none: their rows are disjoint.
std::vector<SharedFile> overlap(const DatasetSummary& first, const DatasetSummary& second);

/// @throws DataError naming a shared file by both names, or a file that is twice (as a copy) among those that
/// were split, so that both parts may hold its rows.
void require_disjoint(const Dataset& train, const Dataset& valid);

}  // namespace bunchtrain::data
