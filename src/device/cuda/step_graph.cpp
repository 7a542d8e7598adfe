// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/step_graph.hpp"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <exception>
#include <optional>

namespace bunchtrain::device {
namespace {

class CudaStepGraph : public StepGraph {
 public:
  explicit CudaStepGraph(c10::Device gpu) : gpu_(gpu) {}

  void capture(const std::function<void()>& work) override {
    const c10::DeviceGuard device(gpu_);
    graph_.emplace();
    c10::cuda::device_synchronize();
    const c10::cuda::CUDAStreamGuard stream(
        c10::cuda::getStreamFromPool(/*isHighPriority=*/false, gpu_.index()));
    // Only this thread's calls are part of it: those of the loader's threads go on.
    graph_->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      abandon();
      throw;
    }
    try {
      graph_->capture_end();
    } catch (...) {
      graph_.reset();
      throw;
    }
  }

  void replay() override {
    const c10::DeviceGuard device(gpu_);
    graph_->replay();
  }

 private:
  /// The stream stays in its state until the capture is ended, which may fail as well.
  void abandon() noexcept {
    try {
      graph_->capture_end();
    } catch (const std::exception&) {
    }
    graph_.reset();
  }

  c10::Device gpu_;
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
