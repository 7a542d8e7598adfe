// SPDX-License-Identifier: Apache-2.0
#include "direct_tiles.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <mutex>

namespace bunchtrain::ops::detail {
namespace {

constexpr std::int64_t kStageBytes = 24 * 1024;  ///< of weights
constexpr std::int64_t kStepBytes = 256;         ///< weights of a step, of a group of columns
constexpr std::int64_t kMostAlong = 8;           ///< outputs of a block along x and y
constexpr int kGradientRows = 512;               ///< outputs of a block
constexpr std::int64_t kGradientBlocks = 264;
constexpr std::int64_t kMostBlocks = std::numeric_limits<std::int32_t>::max(), kMostGroups = 65535;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// So that two planes of chunks meet different banks.
constexpr std::int64_t pitch_of(std::int64_t cells) { return ceil_div(cells - 4, 8) * 8 + 4; }

/// Sizes of one way to divide an image.
struct Division {
  Extent3 tile, count, halo;

  Division(const DirectShape& shape, const Extent3& wanted) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      count[axis] = ceil_div(shape.outputs[axis], wanted[axis]);
      tile[axis] = ceil_div(shape.outputs[axis], count[axis]);
      halo[axis] = tile[axis] + shape.kernel[axis] - 1;
    }
  }
  std::int64_t blocks() const { return count[0] * count[1] * count[2]; }
  std::int64_t rows() const { return tile[0] * tile[1] * tile[2]; }
  std::int64_t cells() const { return halo[0] * halo[1] * halo[2]; }
};

/// Clocks of a multiprocessor, roughly: what fragments take from shared memory, what cells take to come there.
std::int64_t cost_of(const Division& division, std::int64_t steps) {
  return division.blocks() * (ceil_div(division.rows(), 16) * steps * 8 + division.cells() + 1000);
}

/// The cheapest division of at most `most_rows` outputs in a block that fits.
template <class Fits>
std::optional<Division> best_division(const DirectShape& shape, std::int64_t most_rows, std::int64_t steps,
                                      Fits fits) {
  std::optional<Division> best;
  for (std::int64_t x = 1; x <= std::min(kMostAlong, shape.outputs[0]); ++x)
    for (std::int64_t y = 1; y <= std::min(kMostAlong, shape.outputs[1]); ++y) {
      const std::int64_t most_z = std::min(shape.outputs[2], most_rows / (x * y));
      if (most_z < 1) continue;
      const std::int64_t fewest = ceil_div(shape.outputs[2], most_z);
      for (std::int64_t pieces = fewest; pieces < std::min(fewest + 4, shape.outputs[2] + 1); ++pieces) {
        const Division division(shape, {x, y, ceil_div(shape.outputs[2], pieces)});
        if (fits(division) && (!best || cost_of(division, steps) < cost_of(*best, steps))) best = division;
      }
    }
  return best;
}

DirectTiles tiles_of(const DirectShape& shape, const Division& division) {
  DirectTiles tiles = {};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    tiles.outputs[axis] = static_cast<int>(shape.outputs[axis]);
    tiles.kernel[axis] = static_cast<int>(shape.kernel[axis]);
    tiles.before[axis] = static_cast<int>(shape.before[axis]);
    tiles.tile[axis] = static_cast<int>(division.tile[axis]);
    tiles.count[axis] = static_cast<int>(division.count[axis]);
    tiles.halo[axis] = static_cast<int>(division.halo[axis]);
  }
  tiles.pitch = static_cast<int>(pitch_of(division.cells()));
  tiles.taps = static_cast<int>(shape.taps());
  tiles.octets = octets_of(shape.channels);
  tiles.columns = static_cast<int>(shape.columns);
  tiles.groups = octets_of(shape.columns);
  tiles.slice = 1;
  tiles.tap_groups = tiles.column_groups = 1;
  tiles.blocks = division.blocks() * shape.batch;
  return tiles;
}

/// Plans of a process's layers, which come again in every step. Thread-safe.
template <class Plan>
class KnownPlans {
 public:
  explicit KnownPlans(Plan plan) : plan_(plan) {}

  std::optional<DirectTiles> operator()(const DirectShape& shape, int number_bytes) {
    const Extent3 &outputs = shape.outputs, &kernel = shape.kernel, &before = shape.before;
    const Key key = {number_bytes, shape.batch, shape.channels, shape.columns, outputs[0],
                     outputs[1],   outputs[2],  kernel[0],      kernel[1],     kernel[2],
                     before[0],    before[1],   before[2]};
    const std::lock_guard lock(mutex_);
    if (plans_.size() >= kMost) plans_.clear();
    const auto [place, is_new] = plans_.try_emplace(key);
    if (is_new) place->second = plan_(shape, number_bytes);
    return place->second;
  }

 private:
  using Key = std::array<std::int64_t, 13>;
  static constexpr std::size_t kMost = 4096;

  Plan plan_;
  std::mutex mutex_;
  std::map<Key, std::optional<DirectTiles>> plans_;
};

bool is_empty(const DirectShape& shape) {
  return std::ranges::any_of(shape.outputs, [](std::int64_t cells) { return cells < 1; }) ||
         shape.channels < 1 || shape.columns < 1;
}

std::optional<DirectTiles> new_convolution(const DirectShape& shape, int number_bytes) {
  if (is_empty(shape) || shape.taps() > kMostGroups) return std::nullopt;
  const WarpShape warp = convolution_warp(octets_of(shape.columns));
  const int octets = octets_of(shape.channels),
            steps = steps_of_octet(static_cast<int>(shape.taps()), number_bytes);
  const std::int64_t stage = std::min<std::int64_t>(
      std::int64_t{octets} * steps, std::max<std::int64_t>(1, kStageBytes / (kStepBytes * warp.n)));
  const std::int64_t fixed = stage * warp.n * kStepBytes + 2 * sizeof(std::int32_t) * std::int64_t{steps},
                     left = static_cast<std::int64_t>(kDirectSharedBytes) - fixed;
  const auto octet_bytes = [&](const Division& division) {
    return pitch_of(division.cells()) * kOctet * number_bytes;
  };
  const auto division = best_division(shape, std::int64_t{kDirectWarps} * 16 * warp.m, steps,
                                      [&](const Division& one) { return octet_bytes(one) <= left; });
  if (!division) return std::nullopt;
  DirectTiles tiles = tiles_of(shape, *division);
  tiles.slice = static_cast<int>(std::min<std::int64_t>(octets, left / octet_bytes(*division)));
  tiles.stage = static_cast<int>(stage);
  tiles.steps = steps;
  tiles.column_groups = static_cast<int>(ceil_div(tiles.groups, warp.n));
  tiles.groups = tiles.column_groups * warp.n;
  tiles.shared_bytes = static_cast<std::size_t>(fixed + tiles.slice * octet_bytes(*division));
  if (tiles.blocks > kMostBlocks || tiles.column_groups > kMostGroups) return std::nullopt;
  return tiles;
}

std::optional<DirectTiles> new_weight_gradient(const DirectShape& shape, int number_bytes) {
  if (is_empty(shape) || shape.taps() > kMostGroups) return std::nullopt;
  const int groups = octets_of(shape.columns), taps = static_cast<int>(shape.taps());
  const WarpShape warp = weight_warp(groups);
  int warps_m = 1;  // as few as hold all taps: the other warps take other columns
  while (warps_m < kDirectWarps && warps_m * warp.m * 2 < taps) warps_m *= 2;
  if (warp.n == 1) warps_m = kDirectWarps;
  const std::int64_t block_groups = std::int64_t{kDirectWarps} / warps_m * warp.n;
  const auto bytes = [&](const Division& division) {
    const std::int64_t rows = pitch_of(division.rows() + 16);
    return (pitch_of(division.cells()) + block_groups * rows) * kOctet * number_bytes +
           rows * std::int64_t{sizeof(std::int32_t)};
  };
  const auto division = best_division(shape, kGradientRows, ceil_div(taps, 2), [&](const Division& one) {
    return bytes(one) <= static_cast<std::int64_t>(kDirectSharedBytes);
  });
  if (!division) return std::nullopt;
  DirectTiles tiles = tiles_of(shape, *division);
  tiles.row_pitch = static_cast<int>(pitch_of(division->rows() + 16));
  tiles.warps_m = warps_m;
  tiles.tap_groups = static_cast<int>(ceil_div(taps, std::int64_t{warps_m} * warp.m * 2));
  tiles.column_groups = static_cast<int>(ceil_div(groups, block_groups));
  tiles.groups = static_cast<int>(tiles.column_groups * block_groups);
  const std::int64_t beside = std::int64_t{tiles.octets} * tiles.tap_groups * tiles.column_groups;
  tiles.slots = static_cast<int>(std::min(tiles.blocks, std::max<std::int64_t>(1, kGradientBlocks / beside)));
  tiles.shared_bytes = static_cast<std::size_t>(bytes(*division));
  if (tiles.blocks > kMostBlocks || std::int64_t{tiles.octets} * tiles.tap_groups > kMostGroups ||
      tiles.column_groups > kMostGroups)
    return std::nullopt;
  return tiles;
}

}  // namespace

std::optional<DirectTiles> plan_convolution(const DirectShape& shape, int number_bytes) {
  static KnownPlans known(new_convolution);
  return known(shape, number_bytes);
}

std::optional<DirectTiles> plan_weight_gradient(const DirectShape& shape, int number_bytes) {
  static KnownPlans known(new_weight_gradient);
  return known(shape, number_bytes);
}

std::int64_t packed_numbers(const DirectTiles& tiles, int number_bytes) noexcept {
  return std::int64_t{tiles.octets} * tiles.steps * tiles.groups * kStepBytes / number_bytes;
}

std::int64_t partial_numbers(const DirectTiles& tiles) noexcept {
  return std::int64_t{tiles.octets} * tiles.taps * kOctet * tiles.groups * kOctet;
}

}  // namespace bunchtrain::ops::detail
