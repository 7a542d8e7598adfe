// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a range is read by, kept from the time at which engines are told of it.

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "bunchtrain/data/detail/device_plan.hpp"
#include "bunchtrain/data/read_plan.hpp"

namespace bunchtrain::data {

/// Bytes that the host decodes, or those of a device and what the host decodes beside it.
struct RangePlan {
  ReadPlan on_host = {};
  std::optional<DevicePlan> on_device = {};  ///< if it is there, `on_host` has nothing

  /// Whether it would be another one once its neighbours are decoded.
  bool shares_chunks() const noexcept {
    return on_host.shares_chunks || (on_device && on_device->to_host.shares_chunks);
  }
};

/// The plan of one range: made by whoever needs it first, gone once it was taken. Thread-safe.
class KeptPlan {
 public:
  using Pointer = std::shared_ptr<const RangePlan>;

  explicit KeptPlan(std::size_t range) : range_(range) {}
  std::size_t range() const noexcept { return range_; }

  /// To tell engines of it; null if there is nothing to tell any more.
  template <class Make>
  Pointer look(const Make& make) {
    const std::lock_guard lock(mutex_);
    if (!plan_ && !taken_) plan_ = std::make_shared<const RangePlan>(make());
    return plan_;
  }
  /// To read by it.
  template <class Make>
  Pointer take(const Make& make) {
    const std::lock_guard lock(mutex_);
    taken_ = true;
    Pointer plan = std::exchange(plan_, nullptr);
    return plan && !plan->shares_chunks() ? plan : std::make_shared<const RangePlan>(make());
  }

 private:
  const std::size_t range_;
  std::mutex mutex_;
  Pointer plan_;
  bool taken_ = false;
};

}  // namespace bunchtrain::data
