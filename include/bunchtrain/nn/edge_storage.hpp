// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How edges are held in a training step, for predictions of its memory.

#include <c10/core/DeviceType.h>

#include <cstdint>

namespace bunchtrain::nn {

struct EdgeStorage {
  c10::DeviceType device = c10::kCPU;  ///< on the CPU fewer of them are kept
  std::int64_t value_bytes = 4;        ///< of a number: 2 under autocast
};

}  // namespace bunchtrain::nn
