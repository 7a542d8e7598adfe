// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/precision.hpp"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/gpu_situation.hpp"

namespace bunchtrain::device {

namespace {

constexpr int kAmpere = 80;

struct PrecisionName {
  Precision precision;
  std::string_view name;
};
constexpr PrecisionName kNames[] = {{Precision::float32, "float32"},
                                    {Precision::float64, "float64"},
                                    {Precision::tf32, "tf32"},
                                    {Precision::bfloat16, "bfloat16"}};

bool wants_tf32(Precision precision) { return precision == Precision::tf32; }

}  // namespace

std::string_view to_string(Precision precision) noexcept {
  for (const auto& entry : kNames) {
    if (entry.precision == precision) return entry.name;
  }
  return "unknown";
}

Precision parse_precision(std::string_view text) {
  for (const auto& entry : kNames) {
    if (entry.name == text) return entry.precision;
  }
  throw ConfigError("precision", text, "float32, float64, tf32, bfloat16");
}

std::string why_unsupported(Precision precision, c10::DeviceType device, const GpuSituation& situation) {
  if (precision == Precision::float32 || precision == Precision::float64) return {};
  if (device == c10::kCPU) {
    if (precision == Precision::bfloat16) return {};
    return "precision tf32 needs a GPU; on the CPU choose float32, float64 or bfloat16";
  }
  for (const Gpu& gpu : situation.gpus) {
    if (gpu.compute_capability < kAmpere) {
      return "precision " + std::string(to_string(precision)) +
             " needs compute capability 8.0 (Ampere) or later, found " + gpu.name + " with " +
             std::to_string(gpu.compute_capability / 10) + "." + std::to_string(gpu.compute_capability % 10) +
             "; choose float32 or float64";
    }
  }
  return {};
}

void require_supported(Precision precision, c10::DeviceType device) {
  const bool look = device != c10::kCPU && precision != Precision::float32 && precision != Precision::float64;
  const std::string problem = why_unsupported(precision, device, look ? observe_gpus() : GpuSituation{});
  if (!problem.empty()) throw DeviceError(problem);
}

PrecisionGuard::PrecisionGuard(Precision precision, c10::DeviceType device)
    : device_(device),
      was_enabled_(at::autocast::is_autocast_enabled(device)),
      was_dtype_(at::autocast::get_autocast_dtype(device)),
      was_tf32_matmul_(at::globalContext().allowTF32CuBLAS()),
      was_tf32_convolution_(at::globalContext().allowTF32CuDNN()) {
  if (precision == Precision::bfloat16) at::autocast::set_autocast_dtype(device, at::kBFloat16);
  at::autocast::set_autocast_enabled(device, precision == Precision::bfloat16);
  at::globalContext().setAllowTF32CuBLAS(wants_tf32(precision));
  at::globalContext().setAllowTF32CuDNN(wants_tf32(precision));
}

PrecisionGuard::~PrecisionGuard() {
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, was_dtype_);
  at::globalContext().setAllowTF32CuBLAS(was_tf32_matmul_);
  at::globalContext().setAllowTF32CuDNN(was_tf32_convolution_);
}

}  // namespace bunchtrain::device
