// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The handle of a collective in flight.

#include <memory>

namespace bunchtrain::comm {

/// A started operation. Shares ownership of its tensors; destroyed in flight it is parked by its
/// communicator, never waited for.
///
/// On CPU, `poll()` is what makes progress (MPI needs pumping). On GPU, `wait()` orders the current stream
/// after the operation without blocking the host. Use from the thread that issued the operation.
class [[nodiscard]] Work {
 public:
  struct Impl;
  Work() noexcept = default;
  explicit Work(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

  /// Makes progress; true once complete. @throws CommError on failure or timeout (and
  /// poisons the communicator).
  bool poll();
  /// Returns when the result may be used (CPU: complete; GPU: ordered on the current
  /// stream). @throws CommError
  void wait();
  bool valid() const noexcept { return impl_ != nullptr; }

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace bunchtrain::comm
