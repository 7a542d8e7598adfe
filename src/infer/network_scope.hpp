// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where a network computes, in which precision, and what LibTorch is told meanwhile.

#include <ATen/core/grad_mode.h>
#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/ScalarType.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "bunchtrain/device/precision.hpp"

namespace bunchtrain::infer {

/// The device with its number, once it is known to be there and to have the precision.
/// @throws ConfigError for devices and precisions that networks inside other programs do not have; NotBuiltError,
/// DeviceError for a GPU that is not there.
c10::Device require_device(c10::Device device, device::Precision precision);

/// Of the calling thread, until it ends: no gradients, no autocast of the host but the precision's own, the device as
/// the current one. Nothing of the process is touched: TF32 stays as the host has it.
class NetworkScope {
 public:
  NetworkScope(c10::Device device, device::Precision precision);
  ~NetworkScope();
  NetworkScope(const NetworkScope&) = delete;
  NetworkScope& operator=(const NetworkScope&) = delete;

 private:
  at::NoGradGuard no_gradients_;
  c10::impl::ExcludeDispatchKeyGuard no_autocast_;
  c10::OptionalDeviceGuard current_;
  c10::DeviceType type_;
  c10::ScalarType was_dtype_;
  bool narrow_;
};

}  // namespace bunchtrain::infer
