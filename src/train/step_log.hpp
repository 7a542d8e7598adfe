// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a program logs while a step is made.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "bunchtrain/device/late_copy.hpp"

namespace bunchtrain::train {

/// One value by name: of this rank the sum over all calls, and their number.
struct LoggedSum {
  std::string name;
  double sum = 0;
  double count = 0;
};

/// The calls of one step on this rank, in their order. Not thread-safe.
class StepLog {
 public:
  /// @param scalar one number of any type on any device, whose host does not wait for it.
  /// @throws ConfigError for a name that is no word, or that records of steps have themselves, or for a tensor of
  /// another size.
  void add(const std::string& name, const at::Tensor& scalar);
  /// Waits for the numbers. In the order of first calls.
  std::vector<LoggedSum> sums() const;
  bool empty() const noexcept { return calls_.empty(); }

 private:
  struct Call {
    std::string name;
    device::LateCopy value;
  };
  std::vector<Call> calls_;
};

}  // namespace bunchtrain::train
