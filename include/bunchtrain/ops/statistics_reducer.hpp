// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How batch norm sums statistics over ranks without knowing about communication.

#include <ATen/core/Tensor.h>

namespace bunchtrain::ops {

/// Sums a small float64 or float32 tensor over all ranks in place. Collective: all ranks, same order (forward
/// and backward alike). `parallel` injects one; none means local statistics.
class StatisticsReducer {
 public:
  virtual ~StatisticsReducer() = default;
  virtual void all_reduce_sum(at::Tensor& statistics) = 0;
};

}  // namespace bunchtrain::ops
