// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Applies a shower card: cells as a file holds them to images, sums and angles.

#include <cstdint>
#include <span>
#include <vector>

#include "bunchtrain/features/shower_card.hpp"

namespace bunchtrain::features {

/// What one pass over the cells of a shower tells.
struct ShowerScan {
  double sum = 0;               ///< GeV, cells at or above the threshold
  std::int64_t negative = 0;    ///< cells below 0
  std::int64_t not_finite = 0;  ///< cells that are NaN or infinite

  bool is_sound() const noexcept { return negative == 0 && not_finite == 0; }
};

/// The compiled form of a card. Immutable, thread-safe.
class ShowerPipeline {
 public:
  /// @param physical images in GeV, for validation, instead of the card's image scale and power
  explicit ShowerPipeline(ShowerCard card, bool physical = false);

  const ShowerCard& card() const noexcept { return card_; }
  bool physical() const noexcept { return physical_; }

  /// Looks at the cells of one shower, in the file's unit.
  ShowerScan scan(std::span<const float> cells) const;
  /// Whether a shower with that sum (GeV) is selected.
  bool keeps(double sum) const noexcept { return sum > card_.minimum_sum; }
  /// Whether that sum (GeV), and so every cell below it, is finite in an image.
  bool fits_image(double sum) const noexcept;
  /// The image of one shower: threshold, scale, power. @pre cells are sound; both have the same size
  void make_image(std::span<const float> cells, float* image) const;
  /// A sum in GeV in the image's unit, without its power.
  double image_sum(double sum) const noexcept { return sum * (physical_ ? 1 : card_.image_scale); }
  /// The angle of each shower's axis, rad (`ops::ecal_angle`). @param cells of whole
  /// showers, in the file's unit.
  /// @pre the card has one block of cells
  std::vector<float> measure_angles(std::span<const float> cells) const;

  /// Factors from the file's unit to GeV and rad.
  double energy_factor() const noexcept { return energy_factor_; }
  double theta_factor() const noexcept { return theta_factor_; }
  double measured_theta_factor() const noexcept { return measured_theta_factor_; }

 private:
  ShowerCard card_;
  bool physical_;
  double cell_factor_;  // to GeV
  double energy_factor_, theta_factor_, measured_theta_factor_;
  float threshold_;  // in the file's unit
};

}  // namespace bunchtrain::features
