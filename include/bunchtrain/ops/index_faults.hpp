// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Indices outside their set that operations on a GPU met: seen without a wait for the device.
///
/// On the CPU such an index is refused when the operation is called. On a GPU it is only known once the
/// kernel runs: the kernel takes the nearest point of the set instead, so that no foreign memory is
/// read, and raises a flag. Whoever fetches numbers from the device anyway (the loss) copies the flags
/// along and judges the copy:
/// ```
/// const device::LateCopy flags(ops::index_faults(device));   // with the loss, behind the step
/// ops::require_no_index_faults(flags.values());              // when the loss is read
/// ```

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <span>

namespace bunchtrain::ops {

/// The flags of a device: [2] int32, an element for each kind of operation, not zero once one met a bad
/// index. They stay up until zeroed (`index_faults(device).zero_()`). The same tensor in every call. Of the
/// CPU always zero. Thread-safe.
at::Tensor index_faults(c10::Device device);

/// @param flags a copy on the host. @throws ConfigError if one is up: names the operations
/// and how to find the index
void require_no_index_faults(std::span<const double> flags);

}  // namespace bunchtrain::ops
