// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/device.hpp"

#include <ATen/Context.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/device/detail/gpu_situation.hpp"
#include "driver_files.hpp"

namespace bunchtrain::device {

namespace {

constexpr std::string_view kRebuild =
    "tools/setup --gpu && cmake --preset cuda && cmake --build --preset cuda";

std::string dotted(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

std::string cuda_version(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// Why no GPU can be used by a CUDA build, or empty.
std::string machine_problem(const GpuSituation& situation) {
  if (situation.driver_version == 0) {
    return "no NVIDIA driver was found: install it, or choose " + setting("device", "cpu");
  }
  if (situation.driver_version / 1000 < situation.runtime_version / 1000) {
    return "the NVIDIA driver is too old: found one for CUDA " + cuda_version(situation.driver_version) +
           ", required is CUDA " + cuda_version(situation.runtime_version / 1000 * 1000) +
           " or later; update the driver, or choose " + setting("device", "cpu");
  }
  if (!situation.problem.empty()) return "the CUDA runtime cannot list the GPUs: " + situation.problem;
  if (situation.gpus.empty()) {
    return "no GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES, or choose " +
           setting("device", "cpu");
  }
  return {};
}

/// Why this GPU cannot be used, or empty.
std::string card_problem(const Gpu& gpu) {
  if (gpu.compute_capability >= kOldestComputeCapability) return {};
  return "the GPU is too old: found " + gpu.name + " with compute capability " +
         dotted(gpu.compute_capability) + ", required is " + dotted(kOldestComputeCapability) +
         " (Turing) or later; choose " + setting("device", "cpu");
}

DeviceChoice judge_without_cuda(DeviceRequest request, const GpuSituation& situation) {
  std::string hint;
  if (situation.driver_files) {
    hint = "this machine has an NVIDIA GPU but bunchtrain was built without CUDA; to use it: " +
           std::string(kRebuild);
  }
  if (request == DeviceRequest::cuda) {
    NotBuiltError error("The CUDA half, which " + setting("device", "cuda") + " needs,",
                        "BUNCHTRAIN_CUDA=ON");
    if (!hint.empty()) error.add_context(hint);
    throw error;
  }
  return {c10::Device(c10::kCPU), hint};
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "processor of unknown model";
}

std::string describe_cpu() {
  struct sysinfo info {};
  sysinfo(&info);
  const auto bytes = static_cast<unsigned long long>(info.totalram) * info.mem_unit;
  return cpu_model() + ", " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " CPUs, " +
         std::to_string(bytes >> 30) + " GiB";
}

}  // namespace

bool nvidia_driver_files_exist() {
  std::error_code ignored;
  return std::filesystem::exists("/dev/nvidia0", ignored) ||
         std::filesystem::exists("/proc/driver/nvidia", ignored);
}

DeviceRequest parse_device(std::string_view text) {
  if (text == "auto") return DeviceRequest::automatic;
  if (text == "cpu") return DeviceRequest::cpu;
  if (text == "cuda") return DeviceRequest::cuda;
  throw ConfigError("device", text, "auto, cpu, cuda");
}

std::string_view to_string(DeviceRequest request) noexcept {
  if (request == DeviceRequest::automatic) return "auto";
  return request == DeviceRequest::cpu ? "cpu" : "cuda";
}

DeviceChoice judge_device(DeviceRequest request, int local_rank, const GpuSituation& situation) {
  if (request == DeviceRequest::cpu) return {c10::Device(c10::kCPU), {}};
  if (!situation.built_with_cuda) return judge_without_cuda(request, situation);

  std::string problem = machine_problem(situation);
  std::size_t index = 0;
  if (problem.empty()) {
    // Launchers that give each rank a GPU of its own show it one GPU as number 0, whatever the local rank.
    index = static_cast<std::size_t>(local_rank) % situation.gpus.size();
    problem = card_problem(situation.gpus[index]);
  }
  if (problem.empty()) return {c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)), {}};
  if (request == DeviceRequest::cuda) throw DeviceError(setting("device", "cuda") + ": " + problem);
  // A machine with neither driver nor GPU is an ordinary CPU machine: nothing to tell.
  const bool gpu_expected = situation.driver_files || situation.driver_version > 0;
  return {c10::Device(c10::kCPU), gpu_expected ? "training on the CPU: " + problem : std::string()};
}

c10::Device choose_device(DeviceRequest request, int local_rank, const Logger& logger) {
  if (request == DeviceRequest::cpu) return c10::Device(c10::kCPU);
  DeviceChoice choice = judge_device(request, local_rank, observe_gpus());
  if (!choice.notice.empty()) logger.warning(choice.notice);
  return choice.device;
}

void prefer_fast_convolutions(c10::Device device) {
  if (device.is_cuda()) at::globalContext().setBenchmarkCuDNN(true);
}

std::optional<DeviceMemory> observe_memory(c10::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  return observe_gpu_memory(device.has_index() ? device.index() : 0);
}

std::string describe(c10::Device device) {
  return device.is_cuda() ? describe_gpu(device.has_index() ? device.index() : 0) : describe_cpu();
}

}  // namespace bunchtrain::device
