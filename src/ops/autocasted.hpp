// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Autocast for operations that are autograd functions of their own.

#include <ATen/autocast_mode.h>
#include <c10/core/DeviceType.h>

namespace bunchtrain::ops::detail {

/// What autocast makes of an argument of a convolution or a product on this device.
inline at::Tensor autocasted(const at::Tensor& tensor, c10::DeviceType device) {
  if (!tensor.defined() || !at::autocast::is_autocast_enabled(device)) return tensor;
  return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), tensor, device);
}

}  // namespace bunchtrain::ops::detail
