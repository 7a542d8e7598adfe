// SPDX-License-Identifier: Apache-2.0
#include "network_scope.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/device/device.hpp"

namespace bunchtrain::infer {

c10::Device require_device(c10::Device device, device::Precision precision) {
  using enum device::Precision;
  if (precision != float32 && precision != bfloat16 && precision != float16)
    throw ConfigError(
        "precision", device::to_string(precision),
        "float32, bfloat16, float16: tf32 is a switch of the process, which its host has, and float64 is "
        "that of a bundle in double precision");
  if (!device.is_cpu() && !device.is_cuda()) throw ConfigError("device", device.str(), "cpu or cuda");
  if (device.is_cuda()) {
    const int asked = device.has_index() ? device.index() : 0;
    device = device::choose_device(device::DeviceRequest::cuda, asked);
    if (device.index() != asked)
      throw DeviceError(
          fmt::format("there is no GPU {}: take one that nvidia-smi and CUDA_VISIBLE_DEVICES show, or {}",
                      asked, setting("device", "cpu")));
  }
  device::require_supported(precision, device);
  return device;
}

NetworkScope::NetworkScope(c10::Device device, device::Precision precision)
    : no_autocast_(c10::autocast_dispatch_keyset),
      type_(device.type()),
      was_dtype_(at::autocast::get_autocast_dtype(type_)),
      narrow_(precision != device::Precision::float32) {
  if (device.is_cuda()) current_.reset_device(device);
  if (!narrow_) return;
  at::autocast::set_autocast_dtype(type_,
                                   precision == device::Precision::bfloat16 ? at::kBFloat16 : at::kHalf);
  at::autocast::set_autocast_enabled(type_, true);
}

NetworkScope::~NetworkScope() {
  if (!narrow_) return;
  at::autocast::set_autocast_enabled(type_, false);
  at::autocast::set_autocast_dtype(type_, was_dtype_);
}

}  // namespace bunchtrain::infer
