// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Indices of points that users give.

#include <cstdint>

namespace bunchtrain::ops::detail {

/// The point of a set that an index means. One outside would read foreign memory: it raises the flag and
/// counts as the nearest inside. Threads that raise it at once write the same.
__device__ inline std::int32_t checked_index(std::int32_t index, std::int64_t points, std::int32_t* fault) {
  if (index >= 0 && index < points) return index;
  *fault = 1;
  return index < 0 ? 0 : static_cast<std::int32_t>(points - 1);
}

}  // namespace bunchtrain::ops::detail
