// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numeric precision of a training or inference step.

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <string_view>

namespace bunchtrain::device {

/// float64: everything in double (tests). tf32: float32 with TF32 matrix products on GPU. bfloat16, float16:
/// autocast, master weights float32. float16 is for GPUs without bfloat16: gradients below 6e-8 vanish in it
/// and numbers above 65504 do not exist, so that training scales its losses (`Optimizer::scale_losses`).
enum class Precision { float32, float64, tf32, bfloat16, float16 };

std::string_view to_string(Precision precision) noexcept;
/// @throws ConfigError with the names allowed.
Precision parse_precision(std::string_view text);
/// @throws DeviceError if the device cannot do it (bfloat16 and tf32 before Ampere), naming what it can.
void require_supported(Precision precision, c10::Device device);
/// What `--precision auto` means: tf32 on a GPU of compute capability 8.0 or later, else float32.
Precision automatic_precision(c10::Device device);

/// Sets autocast (of the current thread) and TF32 (of the process: convolutions and matrix products alike)
/// from construction to destruction and clears autocast's weight cache on exit, so that an update of the
/// parameters is never missed. TF32 is set by both of LibTorch's interfaces, whichever the application uses,
/// and put back in both. Nest freely; not movable.
class PrecisionGuard {
 public:
  PrecisionGuard(Precision precision, c10::DeviceType device);
  ~PrecisionGuard();
  PrecisionGuard(const PrecisionGuard&) = delete;
  PrecisionGuard& operator=(const PrecisionGuard&) = delete;

 private:
  class Tf32State;

  c10::DeviceType device_;
  bool was_enabled_;
  c10::ScalarType was_dtype_;
  std::unique_ptr<const Tf32State> was_tf32_;
};

}  // namespace bunchtrain::device
