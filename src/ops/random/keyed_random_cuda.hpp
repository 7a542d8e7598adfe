// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Keyed random numbers on a GPU: a kernel on the current stream, no wait for the device.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace bunchtrain::ops::detail {

/// [B, columns] float32 where the [B] int64 `ids` are: row b holds the first numbers of
/// `CounterRandom(seed, stream).child(ids[b])`, uniform or normal.
at::Tensor keyed_random_cuda(const at::Tensor& ids, std::uint64_t seed, std::uint64_t stream,
                             std::int64_t columns, bool normal);

}  // namespace bunchtrain::ops::detail
