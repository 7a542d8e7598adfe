// SPDX-License-Identifier: Apache-2.0
#pragma once
/// An event of a GPU's stream.

#include <c10/core/Device.h>

#include <memory>

namespace bunchtrain::device {

/// Recorded, as it is made, on LibTorch's current stream of a GPU. @throws NotBuiltError
/// in a build without CUDA.
class StreamEvent {
 public:
  enum class Kind { order, time };  ///< only the second one can be asked for seconds

  StreamEvent(c10::Device gpu, Kind kind);

  bool passed() const;
  void wait() const;
  /// What LibTorch's current stream of the event's GPU does from here on comes behind it.
  void order_current_stream() const;
  /// Both have passed.
  double seconds_since(const StreamEvent& earlier) const;

 private:
  std::shared_ptr<void> event_;
};

}  // namespace bunchtrain::device
