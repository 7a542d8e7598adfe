// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Sums batch-norm statistics over the ranks of a communicator.

#include <utility>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/ops/statistics_reducer.hpp"

namespace bunchtrain::parallel {

/// Uses the communicator of the gradients, so that both have one issue order.
class CommunicatorStatistics : public ops::StatisticsReducer {
 public:
  explicit CommunicatorStatistics(comm::Communicator communicator) : communicator_(std::move(communicator)) {}
  void all_reduce_sum(at::Tensor& statistics) override { communicator_.all_reduce(statistics).wait(); }

 private:
  comm::Communicator communicator_;
};

}  // namespace bunchtrain::parallel
