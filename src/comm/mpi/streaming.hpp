// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Loops that write past the caches, for memory that other cores read next.

#include <cstddef>

namespace bunchtrain::comm::detail {

/// @pre `to` lies at a multiple of 64 bytes and apart from `from`
void stream_copy(std::byte* to, const std::byte* from, std::size_t bytes);
/// values += other, and the sums to `to`. @pre as `stream_copy`
void add_and_stream(float* values, const float* other, float* to, std::size_t count);
/// Until then others may see what is streamed in any order.
void finish_streams();

}  // namespace bunchtrain::comm::detail
