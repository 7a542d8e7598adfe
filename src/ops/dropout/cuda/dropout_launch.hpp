// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernels of dropout behind raw pointers: usable without LibTorch, compiled for the host by the tests.
/// They draw the bits that dropout_kernel.hpp draws.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "random/keyed_stream.hpp"
#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

/// `keys[row]` = the bits at position `ids[row]` of `stream`. Asynchronous on
/// `stream_of_work`. `keys` may be `ids`.
void launch_row_keys(std::int64_t rows, const std::int64_t* ids, const KeyedStream& stream,
                     std::int64_t* keys, cudaStream_t stream_of_work);

/// Zeroes elements of `rows` rows of `elements` each: y = 0 where the element's number under the row's key is
/// below `threshold`, else x * scale. S is float, double, Bf16 or Fp16. y may be x. Rows begin
/// at block `first_block` of their samples.
template <class S>
void launch_drop(std::int64_t rows, std::int64_t elements, const S* x, S* y, const std::int64_t* keys,
                 std::uint32_t threshold, Real<S> scale, cudaStream_t stream, std::int64_t first_block = 0);

}  // namespace bunchtrain::ops::detail
