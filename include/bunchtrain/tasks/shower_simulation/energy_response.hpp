// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How much of a shower's energy the cells see: where the fixed-angle 3DGAN takes the
/// labels of its fakes from.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"

namespace bunchtrain::shower_simulation {

/// Primary energies to draw from and the mean cell sum at each.
class EnergyResponse {
 public:
  /// Of at most `showers` samples spread over a dataset with "energy" and "sum": their energies, and a
  /// quartic polynomial in E / 100 GeV fitted to sum / (E / 100 GeV). The same on every rank. @throws
  /// DataError without showers.
  static EnergyResponse fit(const data::Dataset& dataset, std::int64_t showers = 1024);
  /// The published constants: energies uniform from 10 to 500 GeV, sum = 2 E / 100 (svalleco/3Dgan).
  static EnergyResponse published();

  /// The same, for numbers on a device: steps that draw there copy nothing to it.
  EnergyResponse to(c10::Device device) const;
  /// Energies in GeV [B] float32. @param uniform [B], in [0, 1), on this object's device
  at::Tensor draw(const at::Tensor& uniform) const;
  /// Mean cell sums [B] of showers of these energies (GeV).
  at::Tensor sum(const at::Tensor& energy) const;
  double lowest_energy() const noexcept { return energies_.front(); }
  double highest_energy() const noexcept { return energies_.back(); }
  /// "sum / (E/100) = 2.69 - 0.07 x + ..., 2,048 showers of 10-100 GeV".
  std::string describe() const;

 private:
  EnergyResponse(std::vector<float> energies, std::array<double, 5> coefficients);

  std::vector<float> energies_;         ///< ascending; drawn from by linear interpolation of their quantiles
  at::Tensor quantiles_;                ///< the same [N] float32, on the CPU until `to`
  std::array<double, 5> coefficients_;  ///< of x^4 ... x^0, x = E / 100 GeV
};

}  // namespace bunchtrain::shower_simulation
