// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Checks of the arguments of operations: everything that one rank can see alone.

#include <cstdint>
#include <string_view>

#include "backend.hpp"
#include "call.hpp"

namespace bunchtrain::comm::detail {

/// What an operation is checked against.
struct Group {
  int rank;
  int size;
  c10::Device device;
  Backend backend;
};

/// @throws ConfigError naming the operation and the argument: undefined, sparse or not dense,
/// wrong device, dtype that cannot travel, sizes that do not fit, input and output that overlap in
/// a way that is not supported.
void validate(const Call& call, const Buffers& buffers, const Group& group);

/// 0 for a contiguous tensor, else a hash of its sizes and strides: ranks must agree on it.
std::int64_t layout_hash(const at::Tensor& tensor);

}  // namespace bunchtrain::comm::detail
