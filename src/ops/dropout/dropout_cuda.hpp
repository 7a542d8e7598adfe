// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Dropout on a GPU, below autograd: kernels on the current stream, no wait for the device.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace bunchtrain::ops::detail {

/// [B] int64: `CounterRandom(seed, stream).bits(id)` of the [B] int64 `ids`, on their device.
at::Tensor row_keys_cuda(const at::Tensor& ids, std::uint64_t seed, std::uint64_t stream);

/// [B, ...] float32, float64, bfloat16 or float16 `x`, contiguous: elements kept and scaled, or zero.
at::Tensor drop_rows_cuda(const at::Tensor& x, const at::Tensor& keys, std::uint32_t threshold, double scale);

}  // namespace bunchtrain::ops::detail
