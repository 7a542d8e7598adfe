// SPDX-License-Identifier: Apache-2.0
#include "stream_event.hpp"

#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAStream.h>

namespace bunchtrain::device {
namespace {

at::cuda::CUDAEvent& as_event(const std::shared_ptr<void>& event) {
  return *static_cast<at::cuda::CUDAEvent*>(event.get());
}

}  // namespace

StreamEvent::StreamEvent(c10::Device gpu, Kind kind)
    : event_(std::make_shared<at::cuda::CUDAEvent>(kind == Kind::time ? cudaEventDefault
                                                                      : cudaEventDisableTiming)) {
  as_event(event_).record(c10::cuda::getCurrentCUDAStream(gpu.index()));
}

/// Also while this thread captures a stream, where a query of an event of before would be an error.
bool StreamEvent::passed() const {
  const c10::cuda::CUDAStreamCaptureModeGuard relaxed(cudaStreamCaptureModeRelaxed);
  return as_event(event_).query();
}
void StreamEvent::wait() const { as_event(event_).synchronize(); }
void StreamEvent::order_current_stream() const {
  as_event(event_).block(c10::cuda::getCurrentCUDAStream(as_event(event_).device_index()));
}

double StreamEvent::seconds_since(const StreamEvent& earlier) const {
  return as_event(earlier.event_).elapsed_time(as_event(event_)) * 1e-3;
}

}  // namespace bunchtrain::device
