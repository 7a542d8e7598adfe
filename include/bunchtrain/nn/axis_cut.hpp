// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the cells of an image are spread over ranks, axis by axis, and which of them a layer's outputs see. No communication,
/// no tensors.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "bunchtrain/ops/extent3.hpp"

namespace bunchtrain::nn {

/// Cells [begin, end) of an axis.
struct CellRange {
  std::int64_t begin = 0, end = 0;

  std::int64_t size() const noexcept { return end - begin; }
  bool empty() const noexcept { return end <= begin; }
  bool operator==(const CellRange&) const = default;
};
/// What both have; empty at the later begin if they share nothing.
CellRange intersection(CellRange a, CellRange b) noexcept;

/// The slabs of an axis in the order of ranks: every cell in exactly one, of any sizes.
class AxisCut {
 public:
  AxisCut() = default;
  /// @param cells of each rank's slab
  explicit AxisCut(std::span<const std::int64_t> cells);
  /// Slabs of equal size, or one `unit` more for the first ranks; borders at multiples of `unit`.
  /// @throws ConfigError if a rank would have no cell.
  static AxisCut balanced(std::int64_t extent, int ranks, std::int64_t unit = 1);

  int ranks() const noexcept { return static_cast<int>(borders_.size()) - 1; }
  std::int64_t extent() const noexcept { return borders_.back(); }
  CellRange of(int rank) const {
    return {borders_[static_cast<std::size_t>(rank)], borders_[static_cast<std::size_t>(rank) + 1]};
  }
  bool operator==(const AxisCut&) const = default;

 private:
  std::vector<std::int64_t> borders_ = {0};
};

/// What a window needs to compute a range of outputs along an axis.
struct WindowPart {
  CellRange inputs;                    ///< that are there
  std::int64_t before = 0, after = 0;  ///< zeros around them; outputs cut off, where the window is transposed
  std::int64_t skipped = 0;            ///< outputs of these inputs in front of the range
};

/// What a convolution or a pooling does along one axis: output o sees the cells o stride - before + t dilation, t = 0 to
/// kernel - 1, of the input whose cells are repeated `upsampling` times; beyond its ends are zeros.
struct AxisWindow {
  std::int64_t kernel = 1, stride = 1, dilation = 1;
  std::int64_t before = 0, after = 0;  ///< zeros, in cells of the upsampled input
  std::int64_t upsampling = 1;

  /// Outputs of so many input cells; 0 if the kernel is longer than them.
  std::int64_t outputs(std::int64_t extent) const noexcept;
  /// Input cells that a range of outputs sees, those of the padding left out; empty for no outputs.
  CellRange inputs_of(CellRange outputs, std::int64_t extent) const noexcept;
  /// The outputs that see no input cell but those of `inputs`: what can be computed before any neighbour has answered.
  CellRange outputs_within(CellRange inputs, std::int64_t extent) const noexcept;
  WindowPart part_of(CellRange outputs, std::int64_t extent) const noexcept;
};

/// What a transposed convolution does along one axis: cell i adds to the outputs i stride - before + t, t = 0 to kernel - 1;
/// those beyond the ends are cut off.
struct TransposedWindow {
  std::int64_t kernel = 1, stride = 1;  ///< stride <= kernel
  std::int64_t before = 0, after = 0;   ///< outputs cut off

  std::int64_t outputs(std::int64_t extent) const noexcept;
  /// Input cells that a range of outputs sees.
  CellRange inputs_of(CellRange outputs, std::int64_t extent) const noexcept;
  WindowPart part_of(CellRange outputs, std::int64_t extent) const noexcept;
};

/// The slabs of what a window makes of slabs: where the axis keeps its length they keep their borders, so that an input can
/// be added to an output; else they are balanced anew, so that no rank falls behind, whatever the stride.
/// @throws ConfigError if a rank would have no cell.
AxisCut output_cut(const AxisCut& input, const AxisWindow& window);
AxisCut output_cut(const AxisCut& input, const TransposedWindow& window);

/// For each rank the input cells that its slab of the output sees.
std::vector<CellRange> inputs_of(const AxisCut& output, const AxisWindow& window, std::int64_t extent);
std::vector<CellRange> inputs_of(const AxisCut& output, const TransposedWindow& window, std::int64_t extent);

/// The slabs along x, y, z: a rank has the cells of its place along each. One slab along an axis: it is not cut.
using ImageCut = std::array<AxisCut, 3>;
/// A rank's cells along x, y, z.
using CellBox = std::array<CellRange, 3>;
/// For each axis and each rank along it the cells that it needs.
using WantedCells = std::array<std::vector<CellRange>, 3>;

/// @throws ConfigError naming the axis if a rank would have no cell.
ImageCut balanced_cut(const ops::Extent3& cells, const std::array<int, 3>& ranks,
                      const ops::Extent3& units = {1, 1, 1});
/// The first axis that is cut; x if none is.
std::size_t leading_axis(const ImageCut& cut) noexcept;
/// @throws ConfigError naming the axis if a rank would have no cell.
ImageCut output_cut(const ImageCut& input, const std::array<AxisWindow, 3>& windows);
ImageCut output_cut(const ImageCut& input, const std::array<TransposedWindow, 3>& windows);
WantedCells inputs_of(const ImageCut& output, const std::array<AxisWindow, 3>& windows,
                      const ImageCut& input);
WantedCells inputs_of(const ImageCut& output, const std::array<TransposedWindow, 3>& windows,
                      const ImageCut& input);

}  // namespace bunchtrain::nn
