// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Numbers of 16 bits as they lie in memory, for kernels of the CPU and of GPUs, which compute in float.

#include <cstdint>

namespace bunchtrain {

/// bfloat16: the upper half of a float.
struct Bf16 {
  std::uint16_t bits;
};

/// float16 of IEEE 754: 5 bits of exponent, 10 of mantissa; greatest number 65504.
struct Fp16 {
  std::uint16_t bits;
};

}  // namespace bunchtrain
