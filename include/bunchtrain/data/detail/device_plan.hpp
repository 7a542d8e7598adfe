// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a device makes the samples of a range of.

#include <c10/core/Device.h>

#include <cstddef>
#include <vector>

#include "bunchtrain/data/read_plan.hpp"
#include "bunchtrain/features/detail/device_columns.hpp"

namespace bunchtrain::data {

/// Columns as they are stored, and the few bytes that the host decodes.
struct DevicePlan {
  ReadPlan to_device, to_host;
  std::vector<features::detail::DeviceColumn> columns = {};  ///< in the bytes of `to_device`
};

/// The bytes of such a plan, each kind where it belongs.
struct DeviceBytes {
  const std::byte* on_device;
  c10::Device device;
  PlannedBytes on_host;
};

}  // namespace bunchtrain::data
