// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a device makes the samples of a range of.

#include <c10/core/Device.h>

#include <cstddef>
#include <vector>

#include "bunchtrain/data/read_plan.hpp"
#include "bunchtrain/features/detail/device_columns.hpp"
#include "bunchtrain/ops/detail/stored_column.hpp"

namespace bunchtrain::data {

/// Columns as they are stored, and the few bytes that the host decodes.
struct DevicePlan {
  ReadPlan to_device, to_host;
  /// Rows among the bytes of `to_device` that are put together, one block's behind another's, behind those bytes.
  std::vector<ops::detail::ShuffledBlock> shuffled = {};
  std::vector<features::detail::DeviceColumn> columns =
      {};  ///< in the bytes of `to_device` and what is behind them

  std::uint64_t put_together_bytes() const noexcept { return shuffled.empty() ? 0 : end_of(shuffled.back()); }
  static std::uint64_t end_of(const ops::detail::ShuffledBlock& block) noexcept {
    return static_cast<std::uint64_t>(block.to + block.bytes());
  }
};

/// The bytes of such a plan, each kind where it belongs.
struct DeviceBytes {
  const std::byte* on_device;
  c10::Device device;
  PlannedBytes on_host;
};

}  // namespace bunchtrain::data
