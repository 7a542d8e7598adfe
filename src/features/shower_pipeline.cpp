// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/shower_pipeline.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "bunchtrain/ops/shower_observables.hpp"
#include "detail/units.hpp"

namespace bunchtrain::features {
namespace {

constexpr std::size_t kLanes = 16;  // cells handled together: a cache line
constexpr std::uint32_t kSign = 0x80000000u;
constexpr std::uint32_t kInfinity = 0x7f800000u;

double factor_of(const ShowerColumn& column) {
  return column.from.empty() ? 1 : detail::unit_factor(column.unit).value();
}

// Exact count of what is wrong; only for showers where something is.
void count_unsound(std::span<const float> cells, ShowerScan& scan) {
  for (const float cell : cells) {
    if (!std::isfinite(cell))
      ++scan.not_finite;
    else if (cell < 0)
      ++scan.negative;
  }
}

// Zeros are most of a shower: a line of them costs one comparison. The other lines go through an array of
// their own, which the compiler knows not to overlap with `cells`.
template <class Cell>
void transform_lines(std::span<const float> cells, float* image, const Cell& cell) {
  std::array<float, kLanes> line;
  std::size_t at = 0;
  for (; at + kLanes <= cells.size(); at += kLanes) {
    std::uint32_t any = 0;
    for (std::size_t lane = 0; lane < kLanes; ++lane) any |= std::bit_cast<std::uint32_t>(cells[at + lane]);
    line.fill(0);
    if (any != 0)
      for (std::size_t lane = 0; lane < kLanes; ++lane) line[lane] = cell(cells[at + lane]);
    std::copy(line.begin(), line.end(), image + at);
  }
  for (; at < cells.size(); ++at) image[at] = cell(cells[at]);
}

}  // namespace

ShowerPipeline::ShowerPipeline(ShowerCard card, bool physical) : card_(std::move(card)), physical_(physical) {
  validate(card_);
  cell_factor_ = detail::unit_factor(card_.unit).value() / card_.scale;
  energy_factor_ = factor_of(card_.energy);
  theta_factor_ = factor_of(card_.theta);
  measured_theta_factor_ = factor_of(card_.measured_theta);
  threshold_ = static_cast<float>(card_.threshold / cell_factor_);
}

// Sixteen sums, so that the compiler can use vectors without changing the order of an addition; negative and
// not finite cells are told by their bits: the sign, or the sign after an infinity has been carried into it.
ShowerScan ShowerPipeline::scan(std::span<const float> cells) const {
  std::array<float, kLanes> sums{};
  std::array<std::uint32_t, kLanes> unsound{};
  ShowerScan scan;
  double sum = 0;
  std::size_t at = 0;
  const auto add = [&](std::size_t lane, float cell) {
    const auto bits = std::bit_cast<std::uint32_t>(cell);
    unsound[lane] |= bits | (bits + (kSign - kInfinity));
    sums[lane] += cell < threshold_ ? 0.0f : cell;
  };
  for (; at + kLanes <= cells.size(); at += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) add(lane, cells[at + lane]);
  for (; at < cells.size(); ++at) add(at % kLanes, cells[at]);
  std::uint32_t any = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    any |= unsound[lane];
    sum += sums[lane];
  }
  if ((any & kSign) != 0) count_unsound(cells, scan);  // -0.0 has the sign, too
  scan.sum = sum * cell_factor_;
  return scan;
}

void ShowerPipeline::make_image(std::span<const float> cells, float* image) const {
  const auto factor = static_cast<float>(physical_ ? cell_factor_ : cell_factor_ * card_.image_scale);
  const auto power = static_cast<float>(physical_ ? 1 : card_.image_power);
  const float threshold = threshold_;
  if (power == 1)
    return transform_lines(cells, image, [=](float cell) { return cell < threshold ? 0.0f : cell * factor; });
  transform_lines(cells, image, [=](float cell) {
    return cell < threshold || cell == 0 ? 0.0f : std::pow(cell * factor, power);
  });
}

std::vector<float> ShowerPipeline::measure_angles(std::span<const float> cells) const {
  const auto& [x, y, z] = card_.cells.front().shape;
  const auto count = static_cast<std::int64_t>(cells.size()) / (x * y * z);
  const at::Tensor images = at::empty({count, x, y, z}, at::TensorOptions().dtype(at::kFloat));
  const ShowerPipeline in_gev(card_, true);
  in_gev.make_image(cells, images.mutable_data_ptr<float>());
  const at::Tensor angles = ops::ecal_angle(images).to(at::kFloat).contiguous();
  return {angles.const_data_ptr<float>(), angles.const_data_ptr<float>() + count};
}

}  // namespace bunchtrain::features
