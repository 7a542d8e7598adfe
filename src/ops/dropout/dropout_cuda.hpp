// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Dropout on a GPU, below autograd: kernels on the current stream, no wait for the device.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "random/keyed_stream.hpp"

namespace bunchtrain::ops::detail {

/// [B] int64: the bits at position `ids[b]` of `stream`, where the [B] int64 `ids` are.
at::Tensor row_keys_cuda(const at::Tensor& ids, const KeyedStream& stream);

/// [B, ...] float32, float64, bfloat16 or float16 `x`, contiguous: elements kept and scaled, or zero. Rows begin at a block.
at::Tensor drop_rows_cuda(const at::Tensor& x, const at::Tensor& keys, std::int64_t first_block,
                          std::uint32_t threshold, double scale);

}  // namespace bunchtrain::ops::detail
