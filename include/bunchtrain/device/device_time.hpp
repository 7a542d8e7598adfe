// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How long a device works on something: by the clock on the CPU, by events on a GPU,
/// which runs behind the host.

#include <c10/core/Device.h>

#include <chrono>
#include <memory>
#include <vector>

namespace bunchtrain::device {

class StreamEvent;

/// A moment in a device's work: on the CPU now, on a GPU when its current stream comes to where it is now, or now as well
/// while that stream is captured, since nothing runs then.
class Moment {
 public:
  explicit Moment(c10::Device device);

  bool passed() const;
  /// From `earlier`, of the same device, to this one. Waits until both have passed.
  double seconds_since(const Moment& earlier) const;

 private:
  std::chrono::steady_clock::time_point time_ = std::chrono::steady_clock::now();
  std::shared_ptr<const StreamEvent> event_;  ///< null on the CPU and in a capture
};

/// A sum of stretches of a device's time, known once all of them are over. Not thread-safe.
class LateSeconds {
 public:
  void add(double seconds) noexcept { known_ += seconds; }
  void add(const Moment& begin, const Moment& end);
  void add(const LateSeconds& other);

  /// Whether `value` returns without waiting.
  bool ready() const;
  /// Waits for the end of the last stretch.
  double value() const;

 private:
  struct Stretch {
    Moment begin, end;
    double seconds() const { return end.seconds_since(begin); }
  };
  void add_up();

  double known_ = 0;
  std::vector<Stretch> running_;
};

}  // namespace bunchtrain::device
