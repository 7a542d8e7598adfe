// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Work of a GPU that the host enqueues once and repeats at the price of one launch.

#include <c10/core/Device.h>

#include <exception>
#include <functional>
#include <memory>
#include <string>

namespace bunchtrain::device {

/// A CUDA graph. What is captured reads what changes from memory (`StepScalars`, inputs at fixed addresses), waits for
/// nothing on the host and takes nothing off the device; what it allocates is the graph's own and lives as long as it.
/// One thread at a time; several graphs may be replayed at once.
class StepGraph {
 public:
  virtual ~StepGraph() = default;

  /// Takes down what `work` enqueues on the device's current stream, which is one of the graph's own meanwhile; none of
  /// it runs. Waits for the device before. All kernels should have run once in this thread: the first launch loads them, and
  /// libraries make handles per thread. Calls of other threads are no part of it, but none may wait for the whole device
  /// meanwhile (cudaDeviceSynchronize), nor capture: CUDA would refuse both, and end this capture.
  /// @throws what `work` throws, or an error of LibTorch if it asked for something that cannot be captured; the graph is
  /// empty then.
  virtual void capture(const std::function<void()>& work) = 0;
  /// Runs it behind what the current stream has, asynchronously.
  virtual void replay() = 0;
};

/// @throws NotBuiltError in a build without CUDA
std::unique_ptr<StepGraph> create_step_graph(c10::Device gpu);

/// What `StepGraph::capture` threw, as a reason in a sentence: errors of LibTorch without their stack.
std::string why_not_captured(const std::exception& error);

/// Whether the current stream of `device` takes down what is enqueued instead of running it.
bool is_capturing(c10::Device device);

}  // namespace bunchtrain::device
