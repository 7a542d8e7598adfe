// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Times repeated work on a device.

#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <chrono>
#include <functional>
#include <vector>

#include "bunchtrain/mpi/comm.hpp"

namespace gpu_bench {

/// Times between marks: events on the current stream of a GPU, the steady clock on the CPU. Marks do not
/// wait, so that the host may run ahead as it does in a training loop.
class Marks {
 public:
  explicit Marks(c10::Device device) : device_(device) {}
  void mark();
  /// Waits for the last mark and forgets all. @returns milliseconds from each mark to the next
  std::vector<double> take();

 private:
  c10::Device device_;
  std::vector<c10::Event> events_;
  std::vector<std::chrono::steady_clock::time_point> times_;
};

/// Whose time counts: on a GPU the host enqueues work and goes on.
enum class Timed { device, host };

/// What is repeated. With a `baseline` the two take turns, and their difference counts.
struct Work {
  std::function<void()> step;
  std::function<void()> baseline = {};
  Timed timed = Timed::device;
};

struct Spread {
  double median = 0, low = 0, high = 0;  ///< ms; low and high: a tenth of the repetitions lies beyond
};

struct Measured {
  Spread step;
  Spread baseline;  ///< zeros without one
  int repetitions = 0;
};

struct Effort {
  double seconds = 2;  ///< about so long, though at least `least` and at most 200 times
  int warm_ups = 3;    ///< at least one
  int least = 5;
  bool once = false;  ///< one call and no warm-up, for profilers
};

/// Collective if `world` has several ranks: they repeat equally often.
Measured measure(const Work& work, c10::Device device, const Effort& effort,
                 const bunchtrain::mpi::Comm& world);

/// Waits until the device has done all that was asked of it.
void synchronize(c10::Device device);

}  // namespace gpu_bench
