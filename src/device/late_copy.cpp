// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/late_copy.hpp"

#include <ATen/ops/empty.h>

#include "bunchtrain/core/error.hpp"
#include "stream_event.hpp"

namespace bunchtrain::device {

LateCopy::LateCopy(const at::Tensor& numbers) {
  expects(numbers.defined(), "LateCopy of an undefined tensor");
  const bool late = numbers.is_cuda();
  const at::Tensor source = late ? numbers.detach().to(at::kDouble) : numbers.detach();
  host_ = at::empty({source.numel()}, at::TensorOptions().dtype(at::kDouble).pinned_memory(late));
  host_.view(source.sizes()).copy_(source, /*non_blocking=*/late);
  if (late) copied_ = std::make_shared<const StreamEvent>(source.device(), StreamEvent::Kind::order);
}

bool LateCopy::ready() const { return !copied_ || copied_->passed(); }

std::span<const double> LateCopy::values() const {
  if (empty()) return {};
  if (copied_) copied_->wait();
  return {host_.const_data_ptr<double>(), static_cast<std::size_t>(host_.numel())};
}

}  // namespace bunchtrain::device
