// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/step_graph.hpp"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace bunchtrain::device {
namespace {

/// A stream that one living graph was taken down on, and nobody else uses: libraries keep workspaces by handle and stream
/// (cuBLAS), and two graphs, or a graph and other work, may run at the same time.
class CaptureStream {
 public:
  explicit CaptureStream(c10::Device gpu) : index_(gpu.index()), stream_(take(index_)) {}
  ~CaptureStream() {
    const std::lock_guard lock(mutex());
    idle()[index_].push_back(stream_);
  }
  CaptureStream(const CaptureStream&) = delete;
  CaptureStream& operator=(const CaptureStream&) = delete;

  c10::cuda::CUDAStream get() const { return c10::cuda::getStreamFromExternal(stream_, index_); }

 private:
  /// By device, those that no graph has. Never freed: graphs of the process's end give theirs back.
  static std::map<c10::DeviceIndex, std::vector<cudaStream_t>>& idle() {
    static auto* const streams = new std::map<c10::DeviceIndex, std::vector<cudaStream_t>>;
    return *streams;
  }
  static std::mutex& mutex() {
    static auto* const mutex = new std::mutex;
    return *mutex;
  }

  static cudaStream_t take(c10::DeviceIndex index) {
    const std::lock_guard lock(mutex());
    auto& streams = idle()[index];
    if (!streams.empty()) {
      const cudaStream_t stream = streams.back();
      streams.pop_back();
      return stream;
    }
    streams.reserve(streams.capacity() + 1);  // to give it back takes no memory
    cudaStream_t stream = nullptr;
    const c10::cuda::CUDAGuard device(index);
    C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
  }

  c10::DeviceIndex index_;
  cudaStream_t stream_;
};

/// Graphs enter LibTorch's random generator, which all threads share, when their capture begins, and leave it when they end.
std::mutex& generator_mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

class CudaStepGraph : public StepGraph {
 public:
  explicit CudaStepGraph(c10::Device gpu) : gpu_(gpu), stream_(gpu) {}
  ~CudaStepGraph() override { drop(); }
  CudaStepGraph(const CudaStepGraph&) = delete;
  CudaStepGraph& operator=(const CudaStepGraph&) = delete;

  void capture(const std::function<void()>& work) override {
    const c10::DeviceGuard device(gpu_);
    c10::cuda::device_synchronize();
    const c10::cuda::CUDAStreamGuard stream(stream_.get());
    begin();
    try {
      work();
    } catch (...) {
      abandon();
      throw;
    }
    try {
      end();
    } catch (...) {
      drop();
      throw;
    }
  }

  void replay() override {
    const c10::DeviceGuard device(gpu_);
    graph_->replay();
  }

 private:
  /// Only this thread's calls are part of it: those of the loader's threads go on.
  void begin() {
    drop();
    const std::lock_guard lock(generator_mutex());
    graph_.emplace();
    graph_->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
  }
  void end() {
    const std::lock_guard lock(generator_mutex());
    graph_->capture_end();
  }
  /// The stream stays in its state until the capture is ended, which may fail as well.
  void abandon() noexcept {
    try {
      end();
    } catch (const std::exception&) {
    }
    drop();
  }
  void drop() noexcept {
    const std::lock_guard lock(generator_mutex());
    graph_.reset();
  }

  c10::Device gpu_;
  CaptureStream stream_;
  std::optional<at::cuda::CUDAGraph> graph_;
};

}  // namespace

std::unique_ptr<StepGraph> create_step_graph(c10::Device gpu) { return std::make_unique<CudaStepGraph>(gpu); }

bool is_capturing(c10::Device device) {
  if (!device.is_cuda()) return false;
  const c10::DeviceGuard guard(device);
  return c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None;
}

}  // namespace bunchtrain::device
