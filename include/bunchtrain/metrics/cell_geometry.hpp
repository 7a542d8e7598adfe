// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where the cells of a shower image lie: what moments and profiles need.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::metrics {

/// Cells in the order of the flattened image, with centres and with the bins of the
/// three profiles they count in.
struct CellGeometry {
  std::array<std::vector<double>, 3> centre = {};       ///< x, y, z per cell, in the unit of `labels`
  std::array<std::vector<std::int64_t>, 3> bin = {};    ///< profile bin per cell
  std::array<std::vector<double>, 3> edges = {};        ///< of the profile's bins, n + 1
  std::array<std::string, 3> labels = {"x", "y", "z"};  ///< with unit, for axes
  std::vector<std::int64_t> image = {};  ///< [X, Y, Z] if the cells are one grid (slices can be drawn)

  std::int64_t size() const noexcept { return static_cast<std::int64_t>(centre[0].size()); }
  /// Bins of the profile along an axis.
  std::int64_t bins(std::size_t axis) const noexcept {
    return static_cast<std::int64_t>(edges[axis].size()) - 1;
  }
  /// "grid of 25 x 25 x 25 cells", "504 cells in 3 layers".
  std::string describe() const;
  bool operator==(const CellGeometry&) const = default;

  /// One grid [X, Y, Z]; positions are cell numbers from 0, as in the published moments.
  static CellGeometry grid(std::array<std::int64_t, 3> shape);
  /// Layers of different grids over the same face, positions in units of the face (0 to 1)
  /// and of layers (CaloGAN).
  static CellGeometry layers(std::span<const std::array<std::int64_t, 2>> shapes);
  /// z layers of alpha x r cells around the axis, radii in units of a ring (CaloChallenge).
  static CellGeometry cylinder(std::int64_t layers, std::int64_t angles, std::int64_t rings);
};

}  // namespace bunchtrain::metrics
