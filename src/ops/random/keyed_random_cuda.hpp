// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Keyed random numbers on a GPU: a kernel on the current stream, no wait for the device.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "random/keyed_stream.hpp"

namespace bunchtrain::ops::detail {

/// [B, columns] float32 where the [B] int64 `ids` are: row b holds the first numbers of
/// the child `ids[b]` of `stream`, uniform or normal.
at::Tensor keyed_random_cuda(const at::Tensor& ids, const KeyedStream& stream, std::int64_t columns,
                             bool normal);

}  // namespace bunchtrain::ops::detail
