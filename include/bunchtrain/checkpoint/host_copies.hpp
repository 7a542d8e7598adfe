// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a snapshot is written from while the training goes on.

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bunchtrain/tensor/state_dict.hpp"

namespace bunchtrain::checkpoint {

/// Copies of live state in host memory, to be given to `Store::begin`.
///
/// Tensors that are views of one memory, as parameters are of their arena and moments of the optimizer's flat state, are copied
/// in one piece, and the entries are views of the copy, with the strides of the original. Memory is page-locked for state on a
/// GPU, and used again once nobody holds the copies of before: from the second save on a run allocates nothing. Not thread-safe.
class HostCopies {
 public:
  /// The values of now; on a GPU it waits for the work on the current stream that makes them.
  StateDict copy(const StateDict& live);
  /// Memory that is held, in use or not.
  std::size_t bytes() const noexcept;

 private:
  at::Tensor take(at::ScalarType dtype, std::int64_t count, bool page_locked);

  struct Block {
    at::Tensor memory;  ///< [count]
    bool page_locked;
  };
  std::vector<Block> blocks_;
};

}  // namespace bunchtrain::checkpoint
