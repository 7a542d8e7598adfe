// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A bench for single kernels, without LibTorch: compiled by `gpu-kit lab` with the .cu that includes it.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/device/detail/launch.cuh"

/// The library's own one throws; here the program ends. Not inline: the kernels' objects look for it.
void bunchtrain::device::check_launch(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "lab: %s\n", cudaGetErrorString(status));
  std::exit(1);
}

namespace lab {

using bunchtrain::device::check_launch;

/// Device memory of the program's lifetime.
template <class T>
T* allocate(std::size_t count) {
  T* memory = nullptr;
  check_launch(cudaMalloc(&memory, count * sizeof(T)));
  check_launch(cudaMemset(memory, 0, count * sizeof(T)));
  return memory;
}

/// The host's numbers on the device.
template <class T>
T* upload(const std::vector<T>& values) {
  T* memory = allocate<T>(values.size());
  check_launch(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return memory;
}

/// Numbers in (-1, 1), the same in every run.
inline std::vector<float> numbers(std::size_t count) {
  std::vector<float> values(count);
  unsigned state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
  }
  return values;
}

struct Times {
  double low, median, high;  ///< ms
};

/// Of 30 launches after 3, by events; a tenth of them lies beyond `low` and `high`.
inline Times times_of(const std::function<void(cudaStream_t)>& launch) {
  static cudaStream_t stream = nullptr;
  static cudaEvent_t before = nullptr, after = nullptr;
  if (stream == nullptr) {
    check_launch(cudaStreamCreate(&stream));
    check_launch(cudaEventCreate(&before));
    check_launch(cudaEventCreate(&after));
  }
  std::vector<float> milliseconds;
  for (int repetition = -3; repetition < 30; ++repetition) {
    check_launch(cudaEventRecord(before, stream));
    launch(stream);
    check_launch(cudaEventRecord(after, stream));
    check_launch(cudaEventSynchronize(after));
    float elapsed = 0;
    check_launch(cudaEventElapsedTime(&elapsed, before, after));
    if (repetition >= 0) milliseconds.push_back(elapsed);
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  return {milliseconds[3], milliseconds[milliseconds.size() / 2], milliseconds[26]};
}

/// Times `launch` and prints a JSON line. `bytes` and `flops`: what the kernel must move and compute at least, 0 if that says
/// nothing. LAB_VARIANT names the variant. @returns the median
inline double time(const std::string& what, double bytes, double flops,
                   const std::function<void(cudaStream_t)>& launch) {
  const Times times = times_of(launch);
  const char* variant = std::getenv("LAB_VARIANT");
  std::printf(
      R"({"kernel": "%s", "variant": "%s", "median_ms": %.5f, "low_ms": %.5f, "high_ms": %.5f, "gb_per_s": %.1f, "gflop_per_s": %.1f})"
      "\n",
      what.c_str(), variant != nullptr ? variant : "", times.median, times.low, times.high,
      bytes / times.median * 1e-6, flops / times.median * 1e-6);
  return times.median;
}

}  // namespace lab
