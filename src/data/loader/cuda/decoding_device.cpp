// SPDX-License-Identifier: Apache-2.0
#include "../decoding_device.hpp"

#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "bunchtrain/device/detail/cuda_check.cuh"
#include "io/cufile_engine.hpp"

namespace bunchtrain::data {
namespace {

using device::check_cuda;

class CudaSlabMemory final : public io::SlabMemory {
 public:
  explicit CudaSlabMemory(int gpu) : gpu_(gpu) {}

  // The device stays that of the calling thread: readers of cuFile work with it from then on.
  std::byte* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    if (cudaSetDevice(gpu_) != cudaSuccess || cudaMalloc(&memory, bytes) != cudaSuccess) {
      cudaGetLastError();  // it is told by the missing memory
      return nullptr;
    }
    return static_cast<std::byte*>(memory);
  }
  void release(std::byte* slab) noexcept override { cudaFree(slab); }
  void copy(const std::byte* from, std::span<std::byte> out) override {
    copy_now(out.data(), from, out.size(), cudaMemcpyDeviceToDevice);
  }
  void fill(std::span<std::byte> out, const std::function<void(std::span<std::byte>)>& write) override {
    std::vector<std::byte> bytes(out.size());
    write(bytes);
    copy_now(out.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice);
  }

 private:
  static void copy_now(std::byte* to, const std::byte* from, std::size_t bytes, cudaMemcpyKind kind) {
    check_cuda(cudaMemcpyAsync(to, from, bytes, kind, cudaStreamPerThread),
               "copy bytes of a file on the GPU");
    check_cuda(cudaStreamSynchronize(cudaStreamPerThread), "copy bytes of a file on the GPU");
  }

  int gpu_;
};

/// Of one GPU. Never destroyed: readers may wait for the library.
struct OfGpu {
  explicit OfGpu(int gpu) : memory(gpu), engine(io::make_cufile_engine({.memory = &memory})) {}
  CudaSlabMemory memory;
  std::unique_ptr<const io::Engine> engine;
};

/// The current one if none is said.
int number_of(c10::Device device) {
  int gpu = device.index();
  if (!device.has_index()) check_cuda(cudaGetDevice(&gpu), "find the GPU");
  return gpu;
}

OfGpu& of_gpu(c10::Device device) {
  static std::mutex mutex;
  static auto* all = new std::map<int, std::unique_ptr<OfGpu>>;
  const int gpu = number_of(device);
  const std::lock_guard lock(mutex);
  auto& one = (*all)[gpu];
  if (!one) one = std::make_unique<OfGpu>(gpu);
  return *one;
}

}  // namespace

std::string why_no_decoding_on(c10::Device device) {
  return device.is_cuda() ? "" : "batches stay on the CPU";
}

io::SlabMemory& device_slab_memory(c10::Device device) { return of_gpu(device).memory; }

const io::Engine* direct_engine(c10::Device device, const ByteSource& source) {
  const io::Engine* chosen = source.engine();
  if (chosen == nullptr || chosen->kind() != IoEngine::cufile) return nullptr;
  const io::Engine& engine = *of_gpu(device).engine;
  return engine.why_not(source).empty() ? &engine : nullptr;
}

}  // namespace bunchtrain::data
