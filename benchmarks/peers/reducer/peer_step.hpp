// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One training step with PyTorch's own parts.

#include <memory>

#include "stack.hpp"

namespace bunchtrain::benchmark {

/// c10d::Reducer as DistributedDataParallel sets it up (first bucket 1 MiB, others 25 MiB, buckets rebuilt
/// after the first step) and torch::optim::AdamW. Collective: construction and `step`.
class PeerStep {
 public:
  /// @param bucket_view DDP's `gradient_as_bucket_view`, off by default there
  PeerStep(std::shared_ptr<Stack> net, bool bucket_view);
  ~PeerStep();
  void step(const at::Tensor& input);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::benchmark
