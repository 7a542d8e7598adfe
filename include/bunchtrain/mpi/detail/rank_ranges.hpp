// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Lists of ranks as people write them.

#include <span>
#include <string>

namespace bunchtrain::mpi {

/// "rank 3", "ranks 0-2, 5": for messages about many ranks. `ranks` ascend.
std::string rank_ranges(std::span<const int> ranks);

}  // namespace bunchtrain::mpi
