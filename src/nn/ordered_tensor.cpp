// SPDX-License-Identifier: Apache-2.0
#include "ordered_tensor.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

namespace bunchtrain::nn::detail {
namespace {

c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

}  // namespace

OrderedTensor::OrderedTensor(at::Tensor tensor) : tensor_(std::move(tensor)) {
  if (tensor_.is_cpu()) return;
  writer_ = current_stream(tensor_.device());
  written_.emplace(tensor_.device().type());
  written_->record(*writer_);
}

const at::Tensor& OrderedTensor::on_current_stream() const {
  if (!writer_) return tensor_;
  const c10::Stream stream = current_stream(tensor_.device());
  if (stream == *writer_) return tensor_;
  written_->block(stream);
  tensor_.record_stream(stream);
  return tensor_;
}

}  // namespace bunchtrain::nn::detail
