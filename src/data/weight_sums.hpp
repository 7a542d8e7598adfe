// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the weights of many samples amount to, whatever their scale.

#include <cmath>
#include <cstdint>

namespace bunchtrain::data {

/// Sums relative to the largest magnitude so far: neither 1e-300 nor 1e300 leaves the range of a double.
class WeightSums {
 public:
  void add(double weight) {
    const double magnitude = std::abs(weight);
    if (magnitude > largest_) rescale(magnitude);
    ++count_;
    if (magnitude == 0) return;
    magnitudes_ += magnitude / largest_;
    if (weight < 0) {
      ++negative_;
      negative_magnitudes_ += magnitude / largest_;
    }
  }

  /// Many weights that are not negative, of which the sum is known.
  void add_sum(double sum, std::int64_t count) {
    if (sum > largest_) rescale(sum);
    count_ += count;
    if (sum > 0) magnitudes_ += sum / largest_;
  }

  std::int64_t count() const noexcept { return count_; }
  double mean_magnitude() const noexcept {
    return count_ == 0 ? 0 : largest_ * (magnitudes_ / static_cast<double>(count_));
  }
  std::int64_t negative() const noexcept { return negative_; }
  /// Of the sum of magnitudes, 0 to 1.
  double negative_share() const noexcept { return magnitudes_ > 0 ? negative_magnitudes_ / magnitudes_ : 0; }

 private:
  void rescale(double largest) {
    magnitudes_ *= largest_ / largest;
    negative_magnitudes_ *= largest_ / largest;
    largest_ = largest;
  }

  double largest_ = 0;
  double magnitudes_ = 0, negative_magnitudes_ = 0;  // in units of `largest_`
  std::int64_t count_ = 0, negative_ = 0;
};

}  // namespace bunchtrain::data
