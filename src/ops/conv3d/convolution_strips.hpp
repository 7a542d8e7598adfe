// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Convolutions on the CPU that compute several neighbouring cells as channels of one.
///
/// oneDNN gives every output channel a lane of a vector register, which holds 16; 3DGAN's layers have 1 to 8
/// output channels and leave most lanes idle. Cells z and z + 1 of C channels are 2 C channels of a
/// convolution with stride 2 and a kernel one cell longer, whose output lies in memory as the two cells
/// would: for 5 taps, 6/5 of the work at twice the speed. The same sums, in another order.

#include <ATen/core/Tensor.h>

#include "bunchtrain/ops/conv3d.hpp"

namespace bunchtrain::ops::detail {

/// Dense [B, X', Y', Z', Cout] of the dense [B, X, Y, Z, Cin]; all three without autograd.
at::Tensor convolution_output(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                              const Extent3& padding);

/// The gradient of the input from that of the output: its convolution with the mirrored kernel.
/// @pre padding < kernel
at::Tensor input_gradient(const at::Tensor& gradient, const at::Tensor& weight, const Extent3& padding);

/// The gradient of the weight [Cout, Cin, kx, ky, kz] from that of the output.
at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight,
                           const Extent3& padding);

}  // namespace bunchtrain::ops::detail
