// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a lane holds of the matrices of a warp's product D = A B + C, as PTX lays them out (PTX ISA, "Matrix
/// fragments for mma.m16n8k16" and "... m16n8k8"). With g = lane / 4 and t = lane % 4:
///
///   A [16, K] of 16-bit numbers   register 0: (g, 2t), (g, 2t + 1), the first in the low half;
///                                 1: row + 8; 2: column + 8; 3: both. K = 16
///   A [16, K] of tf32             register 0: (g, t); 1: row + 8; 2: column + 4; 3: both. K = 8
///   B [K, 8] of 16-bit numbers    register 0: (2t, g), (2t + 1, g); register 1: row + 8
///   B [K, 8] of tf32              register 0: (t, g); register 1: row + 4
///   C, D [16, 8] of float         values 0, 1: (g, 2t), (g, 2t + 1); values 2, 3: row + 8

namespace bunchtrain::device {

struct FragmentA {
  unsigned registers[4];
};
struct FragmentB {
  unsigned registers[2];
};
struct FragmentC {
  float values[4];
};

}  // namespace bunchtrain::device
