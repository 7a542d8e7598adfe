// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/shower_pipeline.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "bunchtrain/ops/shower_observables.hpp"
#include "expressions/units.hpp"

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

bool is_zero(const float* line) {
  std::array<std::uint64_t, kLanes / 2> words;
  std::memcpy(words.data(), line, sizeof(words));
  std::uint64_t any = 0;
  for (const std::uint64_t word : words) any |= word;
  return any == 0;
}

// Zeros are most of a shower: a line of them costs one comparison, another a power per cell.
void raise_lines(std::span<const float> cells, float threshold, float factor, float power, float* image) {
  const auto raise = [=](float cell) {
    return cell < threshold || cell == 0 ? 0.0f : std::pow(cell * factor, power);
  };
  std::size_t at = 0;
  for (; at + kLanes <= cells.size(); at += kLanes) {
    if (is_zero(&cells[at]))
      std::fill_n(image + at, kLanes, 0.0f);
    else
      std::transform(&cells[at], &cells[at] + kLanes, image + at, raise);
  }
  std::transform(cells.begin() + static_cast<std::ptrdiff_t>(at), cells.end(), image + at, raise);
}

// Without a power a comparison and a product are cheaper than looking whether a line is zero. The compiler
// does not make vectors of a loop whose arrays may overlap, hence the type.
void scale_lines(std::span<const float> cells, float threshold, float factor, float* image) {
  using Line = float __attribute__((vector_size(16)));
  constexpr std::size_t kWidth = sizeof(Line) / sizeof(float);
  std::size_t at = 0;
  for (; at + kWidth <= cells.size(); at += kWidth) {
    Line line;
    std::memcpy(&line, &cells[at], sizeof(line));
    line = line < threshold ? Line{} : line * factor;
    std::memcpy(image + at, &line, sizeof(line));
  }
  for (; at < cells.size(); ++at) image[at] = cells[at] < threshold ? 0.0f : cells[at] * factor;
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

bool ShowerPipeline::fits_image(double sum) const noexcept {
  return std::isfinite(static_cast<float>(sum)) && std::isfinite(static_cast<float>(image_sum(sum)));
}

void ShowerPipeline::make_image(std::span<const float> cells, float* image) const {
  const auto factor = static_cast<float>(physical_ ? cell_factor_ : cell_factor_ * card_.image_scale);
  const auto power = static_cast<float>(physical_ ? 1 : card_.image_power);
  if (power == 1) return scale_lines(cells, threshold_, factor, image);
  raise_lines(cells, threshold_, factor, power, image);
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
