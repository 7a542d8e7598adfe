// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How edges are held in a training step, for predictions of its memory.

#include <c10/core/Device.h>

#include <cstdint>

namespace bunchtrain::nn {

struct EdgeStorage {
  c10::Device device =
      c10::kCPU;  ///< on the CPU fewer of them are kept; a card with a number can be asked what it fuses
  std::int64_t value_bytes = 4;  ///< of a number: 2 under autocast
  bool fused = false;            ///< on a GPU: by fused passes, not by operations
};

}  // namespace bunchtrain::nn
