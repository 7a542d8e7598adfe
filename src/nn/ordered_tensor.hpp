// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A tensor that is made on one stream and read on others.

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <optional>

namespace bunchtrain::nn::detail {

/// Holds a tensor that the current stream of its device is about to write. Not thread-safe.
class OrderedTensor {
 public:
  OrderedTensor() = default;
  explicit OrderedTensor(at::Tensor tensor);

  /// The tensor, for the current stream of this thread: the stream waits for the one that writes it, and the
  /// memory is not given to somebody else before this stream is through with what it does now.
  const at::Tensor& on_current_stream() const;

 private:
  at::Tensor tensor_;
  std::optional<c10::Stream> writer_;  ///< nothing on the CPU
  std::optional<c10::Event> written_;
};

}  // namespace bunchtrain::nn::detail
