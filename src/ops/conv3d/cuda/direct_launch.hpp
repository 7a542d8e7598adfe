// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolutions of channels-last images with products on tensor cores: raw pointers, no LibTorch. From compute
/// capability 8.0 on.
///
/// Numbers are of S: Bf16, or float, which takes part in products as tf32; sums are float. Calls are asynchronous on
/// `stream`. No atomics: the same bits in every run.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "bunchtrain/core/detail/storage_types.hpp"
#include "conv3d/direct_tiles.hpp"

namespace bunchtrain::ops::detail {

/// A dense image [B, extent, channels], 16-byte aligned, seen as one of fewer and wider cells: each is made of `factor` cells
/// along x, y, z, whose channels lie behind one another. Behind its end it is zero. factor 1: as it is.
template <class T>
struct PhasedImage {
  T* data;
  int extent[3], factor[3], channels;
};

/// A weight [columns, channels, taps] or, `mirrored`, [channels, columns, taps] with its taps in reverse: that of the gradient
/// of a convolution's input.
struct DirectWeight {
  int columns, channels;
  bool mirrored;
};

/// The weight as `launch_convolution` reads it: `packed_numbers`, rounded.
template <class S>
void launch_pack_weight(const DirectTiles& tiles, const DirectWeight& shape, const S* weight, S* packed,
                        cudaStream_t stream);

/// target[o, n] = bias[n] + sum over taps and channels of source[o + tap - before, c] weight[n, c, tap]. `bias` [channels of
/// a cell of the target] may be nullptr. Cells behind the target's end are not written.
/// @param tiles `plan_convolution`
template <class S>
void launch_convolution(const DirectTiles& tiles, const PhasedImage<const S>& source, const S* packed,
                        const S* bias, const PhasedImage<S>& target, cudaStream_t stream);

/// weight[n, c, tap] = sum over images and outputs o of image[o + tap - before, c] gradient[o, n].
/// @param tiles `plan_weight_gradient`
/// @param partials [slots, `partial_numbers`] @param weight [columns, channels, taps]
template <class S>
void launch_weight_gradient(const DirectTiles& tiles, const PhasedImage<const S>& image,
                            const PhasedImage<const S>& gradient, float* partials, float* weight,
                            cudaStream_t stream);

}  // namespace bunchtrain::ops::detail
