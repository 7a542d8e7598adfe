// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Dropout whose choice is a pure function of a key for each row, never of thread, device or batch.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>

#include "bunchtrain/ops/keyed_random.hpp"

namespace bunchtrain::ops {

/// [B] int64 keys for `dropout` of the samples [B] `sample_ids`, on `device` and without a wait for it: ids
/// that are there stay there. Numbers of dropout are independent of those of `keyed_normal` and
/// `keyed_uniform` with the same key. Thread-safe. @throws NotBuiltError for a GPU in a build without CUDA.
at::Tensor dropout_keys(const RandomKey& key, const at::Tensor& sample_ids, c10::Device device);

/// Elements of `x` zeroed with `probability`, the others scaled by 1 / (1 - probability).
///
/// The probability is rounded to a multiple of 1/65536, at most 1 - 1/65536. Which elements go is drawn where
/// `x` is, the same bits on CPU and GPU and for every dtype, without a mask in memory:
/// the backward pass draws again.
///
/// @param x        [B, ...] floating-point; made contiguous if it is not.
/// @param row_keys [B] int64 on the device of `x`, as `dropout_keys` returns them.
/// @param first_element which of its sample's elements the first of a row of `x` is: a slab draws what the whole image would.
/// @return as `x`. Differentiable to any order. Autocast rule: the dtype of `x` is kept. Thread-safe.
/// @throws ConfigError unless 0 <= probability < 1 and there is a key for each row; NotBuiltError for a tensor
/// on a GPU in a build without CUDA.
at::Tensor dropout(const at::Tensor& x, const at::Tensor& row_keys, double probability,
                   std::int64_t first_element = 0);

}  // namespace bunchtrain::ops
