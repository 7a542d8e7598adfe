// SPDX-License-Identifier: Apache-2.0
#pragma once
/// 3-D convolutions of channels-last images, alone and behind a nearest-neighbour upsampling.

#include <ATen/core/Tensor.h>

#include "bunchtrain/ops/extent3.hpp"

namespace bunchtrain::ops {

/// Convolution (cross-correlation) of [B, X, Y, Z, Cin] with `weight` [Cout, Cin, kx, ky, kz] and `bias` [Cout]
/// (may be undefined): [B, X', Y', Z', Cout] dense, X' = (X + padding - (kx - 1) dilation - 1) / stride + 1. Differentiable
/// to any order; only the gradients that backward asks for are computed, and the input is kept for it without its padding.
/// CPU and CUDA; under autocast in its dtype. float16 on the CPU: products of float32, rounded. Loops of ours where stride and
/// dilation are 1.
/// @throws ConfigError if shapes do not fit or the kernel is larger than the padded image.
at::Tensor conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                  const Padding3& padding, const Extent3& stride = {1, 1, 1},
                  const Extent3& dilation = {1, 1, 1});
/// Of an image that lies in stretches [B, X_i, Y, Z, Cin] one behind the other along x, a slab between its halos: they are
/// kept, not their union.
at::Tensor conv3d(at::TensorList stretches, const at::Tensor& weight, const at::Tensor& bias,
                  const Padding3& padding, const Extent3& stride = {1, 1, 1},
                  const Extent3& dilation = {1, 1, 1});

/// Transposed convolution, the adjoint of `conv3d` with that stride: each cell of [B, X, Y, Z, Cin] adds `weight` [Cin, Cout,
/// kx, ky, kz] times itself from `stride` times its place on, then `padding` cells are cut off the ends: [B, X', Y', Z', Cout]
/// dense, X' = (X - 1) stride + kx - padding. LibTorch's, differentiable to any order; dtypes as `conv3d`.
/// @throws ConfigError if shapes do not fit or more is cut off than there is.
at::Tensor transposed_conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                             const Extent3& stride, const Padding3& padding = {});

/// What `conv3d` gives for the input whose every cell is repeated `factor` times along each axis
/// (nearest-neighbour upsampling); `padding` counts cells of the upsampled image.
///
/// Exact and without the upsampled tensor: an output cell o = f q + r (phase r) sees input cells q + floor((r
/// + t - before) / f) for the taps t, so that each phase is a convolution of the small image with a kernel
/// whose weights are sums of the published ones. All phases are one convolution with f^3 Cout channels, whose
/// result is sorted into place. Gradients go to the published weights. Differentiable to any order.
///
/// @param kernels `phase_kernels` of the same weight, to use again where it does not
/// change; undefined: summed here.
at::Tensor upsampled_conv3d(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const Extent3& factor, const Padding3& padding, const at::Tensor& kernels = {});
/// Of an image in stretches, as `conv3d` takes them.
at::Tensor upsampled_conv3d(at::TensorList stretches, const at::Tensor& weight, const at::Tensor& bias,
                            const Extent3& factor, const Padding3& padding, const at::Tensor& kernels = {});

/// The summed kernels of all phases: [fx fy fz Cout, Cin, taps along x, y, z]. They do
/// not depend on the image.
at::Tensor phase_kernels(const at::Tensor& weight, const Extent3& factor, const Padding3& padding);

}  // namespace bunchtrain::ops
