// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/precision.hpp"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <c10/util/Exception.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/detail/gpu_situation.hpp"

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
                                    {Precision::bfloat16, "bfloat16"},
                                    {Precision::float16, "float16"}};

/// What autocast computes in; nothing without it.
std::optional<c10::ScalarType> autocast_dtype(Precision precision) {
  if (precision == Precision::bfloat16) return at::kBFloat16;
  if (precision == Precision::float16) return at::kHalf;
  return std::nullopt;
}

const Gpu& gpu_at(c10::Device device, const GpuSituation& situation) {
  const auto index = static_cast<std::size_t>(device.has_index() ? device.index() : 0);
  if (index >= situation.gpus.size()) throw DeviceError("there is no GPU " + std::to_string(index));
  return situation.gpus[index];
}

bool is_everywhere(Precision precision) {
  return precision == Precision::float32 || precision == Precision::float64 ||
         precision == Precision::float16;
}

void set_tf32(bool allowed) {
  at::globalContext().setAllowTF32CuBLAS(allowed);
  at::globalContext().setAllowTF32CuDNN(allowed);
}

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
  throw ConfigError("precision", text, "float32, float64, tf32, bfloat16, float16");
}

std::string why_unsupported(Precision precision, c10::Device device, const GpuSituation& situation) {
  // Every GPU that the library is built for (compute capability 7.5, Turing, and later) has float16.
  if (is_everywhere(precision)) return {};
  if (device.is_cpu()) {
    if (precision == Precision::bfloat16) return {};
    return "precision tf32 needs a GPU; on the CPU choose float32, float64, bfloat16 or float16";
  }
  const Gpu& gpu = gpu_at(device, situation);
  if (gpu.compute_capability >= kAmpere) return {};
  return "precision " + std::string(to_string(precision)) +
         " needs compute capability 8.0 (Ampere) or later, found " + gpu.name + " with " +
         std::to_string(gpu.compute_capability / 10) + "." + std::to_string(gpu.compute_capability % 10) +
         "; choose float32, float64 or float16";
}

void require_supported(Precision precision, c10::Device device) {
  const bool look = !device.is_cpu() && !is_everywhere(precision);
  const std::string problem = why_unsupported(precision, device, look ? observe_gpus() : GpuSituation{});
  if (!problem.empty()) throw DeviceError(problem);
}

Precision automatic_precision(c10::Device device, const GpuSituation& situation) {
  if (device.is_cpu()) return Precision::float32;
  return why_unsupported(Precision::tf32, device, situation).empty() ? Precision::tf32 : Precision::float32;
}

Precision automatic_precision(c10::Device device) {
  return automatic_precision(device, device.is_cpu() ? GpuSituation{} : observe_gpus());
}

/// LibTorch keeps TF32 twice, by an older and a newer interface, and the older one's questions throw where
/// the two do not agree. Setting by the older one sets both.
class PrecisionGuard::Tf32State {
 public:
  Tf32State() {
    for (std::size_t i = 0; i < kOps.size(); ++i)
      new_[i] = at::globalContext().float32Precision(kCuda, kOps[i]);
    old_matmul_ = ask([] { return at::globalContext().allowTF32CuBLAS(); }, new_[0] != kTf32);
    old_convolution_ = ask([] { return at::globalContext().allowTF32CuDNN(); }, new_[1] != kTf32);
  }
  void restore() const {
    at::globalContext().setAllowTF32CuBLAS(old_matmul_);
    at::globalContext().setAllowTF32CuDNN(old_convolution_);
    for (std::size_t i = 0; i < kOps.size(); ++i)
      at::globalContext().setFloat32Precision(kCuda, kOps[i], new_[i]);
  }

 private:
  static constexpr auto kCuda = at::Float32Backend::CUDA;
  static constexpr auto kTf32 = at::Float32Precision::TF32;
  static constexpr std::array kOps = {at::Float32Op::MATMUL, at::Float32Op::CONV, at::Float32Op::RNN};

  /// What the older interface says; where it refuses, the other one of its two answers than the newer's.
  template <class Ask>
  static bool ask(Ask ask, bool where_they_differ) {
    try {
      return ask();
    } catch (const c10::Error&) {
      return where_they_differ;
    }
  }

  std::array<at::Float32Precision, kOps.size()> new_{};
  bool old_matmul_ = false;
  bool old_convolution_ = false;
};

PrecisionGuard::PrecisionGuard(Precision precision, c10::DeviceType device)
    : device_(device),
      was_enabled_(at::autocast::is_autocast_enabled(device)),
      was_dtype_(at::autocast::get_autocast_dtype(device)),
      was_tf32_(std::make_unique<Tf32State>()) {
  const auto narrow = autocast_dtype(precision);
  if (narrow) at::autocast::set_autocast_dtype(device, *narrow);
  at::autocast::set_autocast_enabled(device, narrow.has_value());
  set_tf32(precision == Precision::tf32);
}

PrecisionGuard::~PrecisionGuard() {
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, was_dtype_);
  was_tf32_->restore();
}

}  // namespace bunchtrain::device
