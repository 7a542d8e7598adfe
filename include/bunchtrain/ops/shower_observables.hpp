// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Physics of shower images as differentiable operators: what the 3DGAN discriminator
/// compares besides its heads.
///
/// Images are [B, X, Y, Z], cells not negative, z along the shower. `power` is the exponent that was
/// applied to the cells: observables are those of image^(1/power). Source: svalleco/3Dgan, branches
/// Anglegan and gkhattak/dev.

#include <ATen/core/Tensor.h>

#include <array>

namespace bunchtrain::ops {

/// Sum of all cells, [B].
at::Tensor ecal_sum(const at::Tensor& image, double power = 1);

/// Angle of the shower axis to z, [B] rad: per layer the slope from the barycentre of the image to that of
/// the layer, averaged over the layers that hold energy with weights z = index + 0.5. An empty shower gives
/// 100, as published, and no gradient. Finite wherever cells are finite.
at::Tensor ecal_angle(const at::Tensor& image, double power = 1);

inline constexpr std::array<double, 7> kBinEdges = {0.05, 0.03, 0.02, 0.0125, 0.008, 0.003, 0};
inline constexpr std::int64_t kEnergyBins = 8;

/// Cells per energy bin, [B, 8]: above 0.05, 0.03-0.05, ..., 0-0.003, and exactly 0. The edges belong to the
/// energies: they are raised to `power` like the image. As published the counts are steps, whose gradient is
/// zero; with `smoothing` > 0 each edge is a logistic of that relative width and the counts have a gradient.
at::Tensor bin_counts(const at::Tensor& image, double power = 1, double smoothing = 0);

}  // namespace bunchtrain::ops
