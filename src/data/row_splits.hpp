// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which elements of ragged tensors belong to which sample.

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::data {

/// @throws DataError unless they are `samples` + 1 numbers that begin at 0 and ascend, naming the first that does not.
inline void require_row_splits(std::span<const std::int64_t> splits, std::int64_t samples) {
  if (static_cast<std::int64_t>(splits.size()) != samples + 1)
    throw DataError(fmt::format("the row splits are {} numbers, {} samples need {}", splits.size(), samples,
                                samples + 1));
  if (splits.front() != 0)
    throw DataError(fmt::format("the row splits begin at {}, they must at 0", splits.front()));
  for (std::size_t i = 1; i < splits.size(); ++i)
    if (splits[i] < splits[i - 1])
      throw DataError(
          fmt::format("the row splits descend at sample {}: from {} to {}", i - 1, splits[i - 1], splits[i]));
}

}  // namespace bunchtrain::data
