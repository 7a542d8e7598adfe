// SPDX-License-Identifier: Apache-2.0
#include "stream_event.hpp"

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::device {

StreamEvent::StreamEvent(c10::Device /*gpu*/, Kind /*kind*/) {
  throw NotBuiltError("The CUDA half", "BUNCHTRAIN_CUDA=ON");
}

bool StreamEvent::passed() const { return true; }
void StreamEvent::wait() const {}
void StreamEvent::order_current_stream() const {}
double StreamEvent::seconds_since(const StreamEvent& /*earlier*/) const { return 0; }

}  // namespace bunchtrain::device
