// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One training step with PyTorch's own parts.

#include <memory>

#include "stack.hpp"

namespace bunchtrain::benchmark {

/// What a user of PyTorch may switch on; both are off by default there.
struct PeerOptions {
  bool fused = false;        ///< AdamW(fused=True): one kernel for all parameters, which C++ does not offer
  bool bucket_view = false;  ///< DDP(gradient_as_bucket_view=True): gradients are not copied into buckets
};

/// c10d::Reducer as DistributedDataParallel sets it up (first bucket 1 MiB, others 25 MiB, buckets rebuilt
/// after the first step) and AdamW. Collective: construction and `step`.
class PeerStep {
 public:
  PeerStep(std::shared_ptr<Stack> net, const PeerOptions& options);
  ~PeerStep();
  void step(const at::Tensor& input);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::benchmark
