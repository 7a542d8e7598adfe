// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The kernel of keyed random numbers behind raw pointers: usable without LibTorch, compiled
/// for the host by the tests.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "random/keyed_stream.hpp"

namespace bunchtrain::ops::detail {

enum class Distribution { uniform, normal };

/// `out[row, i]` = number i of child `ids[row]` of `stream`: uniform to the bit, normal
/// within one unit in the last place. Asynchronous on `stream_of_work`.
void launch_keyed_random(std::int64_t rows, std::int64_t columns, const std::int64_t* ids,
                         const KeyedStream& stream, Distribution distribution, float* out,
                         cudaStream_t stream_of_work);

}  // namespace bunchtrain::ops::detail
