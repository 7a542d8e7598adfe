// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Passes of a network without gradients, taken down once per shape of inputs and repeated by whoever calls next.

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "bunchtrain/device/cuda_graph.hpp"
#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/device/step_graph.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::device {

/// What passes are repeated by.
struct PassGraphs {
  std::function<std::unique_ptr<StepGraph>()> create = {};
  /// Seconds of the device between two moments that have passed.
  std::function<double(const Moment& begin, const Moment& end)> seconds =
      [](const Moment& begin, const Moment& end) { return end.seconds_since(begin); };
};

struct CapturedPassesOptions {
  CudaGraph wish = CudaGraph::off;
  c10::Device device = c10::kCPU;
  std::int64_t most_graphs = 16;  ///< over all shapes and callers
  std::string obstacle = {};      ///< why no pass can be repeated; empty: nothing is known against it
  PassGraphs graphs = {};
};

/// A shape is computed eagerly a few times, and once more by the call that takes it down: so the thread that captures has
/// made its libraries' handles, and its result is an eager one. Others, and whatever cannot be captured, stay eager.
///
/// Any number of threads may call `run`, each on its own current stream. A graph belongs to one call at a time: callers of one
/// shape at once have a graph each. What a call enqueues on a graph's tensors begins behind an event that the call before
/// recorded when it had taken its outputs, whatever streams the two are on. One pass is captured at a time in the process;
/// who comes meanwhile computes eagerly, so no thread waits for another. Its end waits for graphs that run.
class CapturedPasses {
 public:
  using Forward = std::function<NamedTensors(const NamedTensors&)>;
  /// @param lent the next call may overwrite the outputs: copies of what is to stay are enqueued here, or waited for
  using Take = std::function<void(const NamedTensors& outputs, bool lent)>;

  static constexpr std::int64_t kWarmUps = 4;  ///< eager passes of a shape before the one that takes it down
  static constexpr std::size_t kMostShapes = 256;  ///< that are told apart; others stay eager
  static constexpr double kBinding = 0.8;  ///< of the device's time, that the host needs to enqueue a pass

  /// @param bring inputs to the device, in the types that `forward` reads
  /// @param forward is called within captures: it waits for nothing and does the same work for all inputs of a shape
  CapturedPasses(CapturedPassesOptions options, Forward bring, Forward forward);
  ~CapturedPasses();
  CapturedPasses(const CapturedPasses&) = delete;
  CapturedPasses& operator=(const CapturedPasses&) = delete;

  /// Enqueues a pass on the current stream. @throws what `bring`, `forward` and `take` throw outside of captures
  void run(const NamedTensors& inputs, const Take& take);
  GraphUse use() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::device
