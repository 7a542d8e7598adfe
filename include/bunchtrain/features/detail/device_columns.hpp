// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Columns of rows as they lie, as bytes of a file, in the memory of a device.

#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/ops/detail/stored_column.hpp"

namespace bunchtrain::features::detail {

/// One column: where its values lie behind the first byte.
struct DeviceColumn {
  std::string name;           ///< without prefix
  bool per_particle = false;  ///< else of jets, one value per row
  ops::detail::StoredColumn stored = {};
  std::uint64_t begin = 0;  ///< of the first row among the bytes
};

/// Rows whose columns of particles lie on a device; some of jets may lie there too.
struct DeviceColumns {
  const std::vector<DeviceColumn>* columns = nullptr;
  const std::byte* bytes = nullptr;  ///< on `device`
  c10::Device device = c10::kCPU;
};

}  // namespace bunchtrain::features::detail
