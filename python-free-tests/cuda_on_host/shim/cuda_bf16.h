// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Stands in for CUDA's header of this name when kernels are compiled for the host.

#include <bit>

// NOLINTBEGIN: names are CUDA's.

struct __nv_bfloat16 {
  unsigned short bits;
};
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline float __bfloat162float(__nv_bfloat16 value) {
  return std::bit_cast<float>(static_cast<unsigned>(value.bits) << 16);
}
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  if (value != value) return {0x7FFF};
  const unsigned bits = std::bit_cast<unsigned>(value);
  return {static_cast<unsigned short>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16)};
}

// NOLINTEND
