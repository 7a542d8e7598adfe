// SPDX-License-Identifier: Apache-2.0
#include "direct_tiles.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <mutex>

namespace bunchtrain::ops::detail {
namespace {

constexpr std::int64_t kKib = 1024;
constexpr std::int64_t kStepBytes = 256;  ///< weights of a step, of a group of columns
/// Of a tile of the weight's gradient: outputs along x and y, and all of them.
constexpr std::int64_t kGradientAlong = 8, kGradientRows = 512;
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

/// The cheapest division of at most `along` outputs in a block along x and y, and `most_rows` in all, that fits.
template <class Fits>
std::optional<Division> best_division(const DirectShape& shape, std::int64_t along, std::int64_t most_rows,
                                      std::int64_t steps, Fits fits) {
  std::optional<Division> best;
  for (std::int64_t x = 1; x <= std::min(along, shape.outputs[0]); ++x)
    for (std::int64_t y = 1; y <= std::min(along, shape.outputs[1]); ++y) {
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

  std::optional<DirectTiles> operator()(const DirectShape& shape, int number_bytes,
                                        const ConvolutionTiles& line) {
    const Extent3 &outputs = shape.outputs, &kernel = shape.kernel, &before = shape.before;
    const Key key = {number_bytes,
                     shape.batch,
                     shape.channels,
                     shape.columns,
                     outputs[0],
                     outputs[1],
                     outputs[2],
                     kernel[0],
                     kernel[1],
                     kernel[2],
                     before[0],
                     before[1],
                     before[2],
                     line.block_kib,
                     line.shared_kib,
                     line.stage_kib,
                     line.along,
                     line.buffers,
                     line.gradient_buffers};
    const std::lock_guard lock(mutex_);
    if (plans_.size() >= kMost) plans_.clear();
    const auto [place, is_new] = plans_.try_emplace(key);
    if (is_new) place->second = plan_(shape, number_bytes, line);
    return place->second;
  }

 private:
  using Key = std::array<std::int64_t, 19>;
  static constexpr std::size_t kMost = 4096;

  Plan plan_;
  std::mutex mutex_;
  std::map<Key, std::optional<DirectTiles>> plans_;
};

bool is_empty(const DirectShape& shape) {
  return std::ranges::any_of(shape.outputs, [](std::int64_t cells) { return cells < 1; }) ||
         shape.channels < 1 || shape.columns < 1;
}

/// What of shared memory is left for cells: weights, and where the halves of each step lie.
struct ConvolutionRoom {
  std::int64_t stage, fixed_bytes, left_bytes;

  ConvolutionRoom(const ConvolutionTiles& line, std::int64_t all_steps, std::int64_t steps, int groups)
      : stage(std::clamp<std::int64_t>(line.stage_kib * kKib / (kStepBytes * groups), 1, all_steps)),
        fixed_bytes(line.buffers * stage * groups * kStepBytes +
                    2 * std::int64_t{sizeof(std::int32_t)} * steps),
        left_bytes(line.shared_kib * kKib - fixed_bytes) {}
};

std::optional<DirectTiles> new_tiles(const DirectShape& shape, int number_bytes,
                                     const ConvolutionTiles& line) {
  const WarpShape warp = convolution_warp(octets_of(shape.columns));
  const int octets = octets_of(shape.channels),
            steps = steps_of_octet(static_cast<int>(shape.taps()), number_bytes);
  const ConvolutionRoom room(line, std::int64_t{octets} * steps, steps, warp.n);
  const auto octet_bytes = [&](const Division& division) {
    return pitch_of(division.cells()) * kOctet * number_bytes;
  };
  const int least_octets = std::min(octets, line.buffers);
  const auto division =
      best_division(shape, line.along, std::int64_t{kDirectWarps} * 16 * warp.m, steps,
                    [&](const Division& one) { return least_octets * octet_bytes(one) <= room.left_bytes; });
  if (!division) return std::nullopt;
  DirectTiles tiles = tiles_of(shape, *division);
  const std::int64_t held = room.left_bytes / octet_bytes(*division);
  tiles.cell_buffers = held < octets ? line.buffers : 1;
  tiles.slice = static_cast<int>(std::min<std::int64_t>(octets, held / tiles.cell_buffers));
  tiles.stage = static_cast<int>(room.stage);
  tiles.steps = steps;
  const bool is_one_stage = tiles.slice == octets && room.stage == std::int64_t{octets} * steps;
  tiles.buffers = is_one_stage ? 1 : line.buffers;
  tiles.column_groups = static_cast<int>(ceil_div(tiles.groups, warp.n));
  tiles.groups = tiles.column_groups * warp.n;
  tiles.shared_bytes =
      static_cast<std::size_t>(room.fixed_bytes + tiles.cell_buffers * tiles.slice * octet_bytes(*division));
  return tiles;
}

/// Every card has room for these.
constexpr ConvolutionTiles kPlain = {80, 96, 96, 24, 8, 1, 1};

std::optional<DirectTiles> new_convolution(const DirectShape& shape, int number_bytes,
                                           const ConvolutionTiles& line) {
  if (is_empty(shape) || shape.taps() > kMostGroups) return std::nullopt;
  auto tiles = new_tiles(shape, number_bytes, line);
  if (!tiles) tiles = new_tiles(shape, number_bytes, kPlain);
  if (!tiles || tiles->blocks > kMostBlocks || tiles->column_groups > kMostGroups) return std::nullopt;
  return tiles;
}

std::optional<DirectTiles> new_weight_gradient(const DirectShape& shape, int number_bytes,
                                               const ConvolutionTiles& line) {
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
  const auto division = best_division(
      shape, kGradientAlong, kGradientRows, ceil_div(taps, 2),
      [&](const Division& one) { return bytes(one) <= static_cast<std::int64_t>(kDirectSharedBytes); });
  if (!division) return std::nullopt;
  DirectTiles tiles = tiles_of(shape, *division);
  tiles.row_pitch = static_cast<int>(pitch_of(division->rows() + 16));
  tiles.warps_m = warps_m;
  tiles.tap_groups = static_cast<int>(ceil_div(taps, std::int64_t{warps_m} * warp.m * 2));
  tiles.column_groups = static_cast<int>(ceil_div(groups, block_groups));
  tiles.groups = static_cast<int>(tiles.column_groups * block_groups);
  const std::int64_t beside = std::int64_t{tiles.octets} * tiles.tap_groups * tiles.column_groups;
  tiles.slots = static_cast<int>(std::min(tiles.blocks, std::max<std::int64_t>(1, kGradientBlocks / beside)));
  const bool goes_on = tiles.slots < tiles.blocks;  // to another tile
  if (goes_on && line.gradient_buffers * bytes(*division) <= line.block_kib * kKib)
    tiles.buffers = line.gradient_buffers;
  tiles.shared_bytes = static_cast<std::size_t>(tiles.buffers * bytes(*division));
  if (tiles.blocks > kMostBlocks || std::int64_t{tiles.octets} * tiles.tap_groups > kMostGroups ||
      tiles.column_groups > kMostGroups)
    return std::nullopt;
  return tiles;
}

}  // namespace

std::optional<DirectTiles> plan_convolution(const DirectShape& shape, int number_bytes,
                                            const ConvolutionTiles& line) {
  static KnownPlans known(new_convolution);
  return known(shape, number_bytes, line);
}

std::optional<DirectTiles> plan_weight_gradient(const DirectShape& shape, int number_bytes,
                                                const ConvolutionTiles& line) {
  static KnownPlans known(new_weight_gradient);
  return known(shape, number_bytes, line);
}

std::int64_t packed_numbers(const DirectTiles& tiles, int number_bytes) noexcept {
  return std::int64_t{tiles.octets} * tiles.steps * tiles.groups * kStepBytes / number_bytes;
}

std::int64_t partial_numbers(const DirectTiles& tiles) noexcept {
  return std::int64_t{tiles.octets} * tiles.taps * kOctet * tiles.groups * kOctet;
}

}  // namespace bunchtrain::ops::detail
