// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/axis_cut.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {
namespace {

std::int64_t floor_divide(std::int64_t a, std::int64_t b) noexcept {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}
std::int64_t ceil_divide(std::int64_t a, std::int64_t b) noexcept { return -floor_divide(-a, b); }

}  // namespace

CellRange intersection(CellRange a, CellRange b) noexcept {
  const std::int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

AxisCut::AxisCut(std::span<const std::int64_t> cells) {
  for (const std::int64_t of_rank : cells) borders_.push_back(borders_.back() + of_rank);
}

AxisCut AxisCut::balanced(std::int64_t extent, int ranks, std::int64_t unit) {
  expects(extent > 0 && ranks > 0 && unit > 0, "slabs have cells, ranks and a unit");
  const std::int64_t units = (extent + unit - 1) / unit;
  if (units < ranks)
    throw ConfigError(fmt::format(
        "an axis of {} cells{} cannot be cut into {} slabs: give the spatial axis of the mesh at most {} "
        "rank{}",
        extent, unit > 1 ? fmt::format(", cut at multiples of {} only,", unit) : "", ranks, units,
        units == 1 ? "" : "s"));
  AxisCut cut;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::int64_t mine = units / ranks + (rank < units % ranks ? 1 : 0);
    cut.borders_.push_back(std::min(extent, cut.borders_.back() + mine * unit));
  }
  return cut;
}

std::int64_t AxisWindow::outputs(std::int64_t extent) const noexcept {
  const std::int64_t room = upsampling * extent + before + after - (kernel - 1) * dilation - 1;
  return room < 0 ? 0 : room / stride + 1;
}

CellRange AxisWindow::inputs_of(CellRange outputs, std::int64_t extent) const noexcept {
  const std::int64_t first = outputs.begin * stride - before;
  if (outputs.empty()) return {};
  const std::int64_t last = (outputs.end - 1) * stride - before + (kernel - 1) * dilation;
  const std::int64_t begin = std::clamp<std::int64_t>(floor_divide(first, upsampling), 0, extent);
  return {begin, std::clamp(floor_divide(last, upsampling) + 1, begin, extent)};
}

CellRange AxisWindow::outputs_within(CellRange inputs, std::int64_t extent) const noexcept {
  const std::int64_t begin =
      inputs.begin <= 0 ? 0
                        : std::max<std::int64_t>(0, ceil_divide(inputs.begin * upsampling + before, stride));
  const std::int64_t reach = inputs.end * upsampling - 1 + before - (kernel - 1) * dilation;
  const std::int64_t end =
      inputs.end >= extent ? outputs(extent) : std::min(outputs(extent), floor_divide(reach, stride) + 1);
  return {begin, std::max(begin, end)};
}

WindowPart AxisWindow::part_of(CellRange outputs, std::int64_t extent) const noexcept {
  const CellRange inputs = inputs_of(outputs, extent);
  const CellRange fine = {inputs.begin * upsampling, inputs.end * upsampling};
  const std::int64_t first = outputs.begin * stride - before;
  const std::int64_t end = (outputs.end - 1) * stride - before + (kernel - 1) * dilation + 1;
  return {.inputs = inputs,
          .before = std::max<std::int64_t>(0, fine.begin - first),
          .after = std::max<std::int64_t>(0, end - fine.end),
          .skipped = std::max<std::int64_t>(0, first - fine.begin)};
}

std::int64_t TransposedWindow::outputs(std::int64_t extent) const noexcept {
  return std::max<std::int64_t>(0, (extent - 1) * stride + kernel - before - after);
}

CellRange TransposedWindow::inputs_of(CellRange outputs, std::int64_t extent) const noexcept {
  if (outputs.empty()) return {};
  const std::int64_t begin =
      std::clamp<std::int64_t>(ceil_divide(outputs.begin + before - kernel + 1, stride), 0, extent);
  return {begin, std::clamp(floor_divide(outputs.end - 1 + before, stride) + 1, begin, extent)};
}

WindowPart TransposedWindow::part_of(CellRange outputs, std::int64_t extent) const noexcept {
  const CellRange inputs = inputs_of(outputs, extent);
  const std::int64_t in_front = outputs.begin + before - inputs.begin * stride;
  return {.inputs = inputs,
          .before = in_front,
          .after = (inputs.size() - 1) * stride + kernel - in_front - outputs.size()};
}

namespace {

template <class Window>
AxisCut cut_of_outputs(const AxisCut& input, const Window& window) {
  const std::int64_t extent = window.outputs(input.extent());
  if (input.ranks() == 1) return AxisCut({&extent, 1});
  return extent == input.extent() ? input : AxisCut::balanced(extent, input.ranks());
}

template <class Window>
std::vector<CellRange> inputs_of_ranks(const AxisCut& output, const Window& window, std::int64_t extent) {
  std::vector<CellRange> ranges;
  for (int rank = 0; rank < output.ranks(); ++rank)
    ranges.push_back(window.inputs_of(output.of(rank), extent));
  return ranges;
}

/// @param cut_along what the slabs of an axis are
template <class CutAlong>
ImageCut cut_of_axes(CutAlong cut_along) {
  ImageCut cut;
  for (std::size_t axis = 0; axis < cut.size(); ++axis) {
    try {
      cut[axis] = cut_along(axis);
    } catch (Error& error) {
      error.add_context(fmt::format("while images are cut along {}", "xyz"[axis]));
      throw;
    }
  }
  return cut;
}

template <class Window>
ImageCut cut_of_outputs(const ImageCut& input, const std::array<Window, 3>& windows) {
  return cut_of_axes([&](std::size_t axis) { return cut_of_outputs(input[axis], windows[axis]); });
}

template <class Window>
WantedCells wanted_of_axes(const ImageCut& output, const std::array<Window, 3>& windows,
                           const ImageCut& input) {
  WantedCells wanted;
  for (std::size_t axis = 0; axis < wanted.size(); ++axis)
    wanted[axis] = inputs_of_ranks(output[axis], windows[axis], input[axis].extent());
  return wanted;
}

}  // namespace

AxisCut output_cut(const AxisCut& input, const AxisWindow& window) { return cut_of_outputs(input, window); }
AxisCut output_cut(const AxisCut& input, const TransposedWindow& window) {
  return cut_of_outputs(input, window);
}

std::vector<CellRange> inputs_of(const AxisCut& output, const AxisWindow& window, std::int64_t extent) {
  return inputs_of_ranks(output, window, extent);
}
std::vector<CellRange> inputs_of(const AxisCut& output, const TransposedWindow& window, std::int64_t extent) {
  return inputs_of_ranks(output, window, extent);
}

ImageCut balanced_cut(const ops::Extent3& cells, const std::array<int, 3>& ranks, const ops::Extent3& units) {
  return cut_of_axes(
      [&](std::size_t axis) { return AxisCut::balanced(cells[axis], ranks[axis], units[axis]); });
}

std::size_t leading_axis(const ImageCut& cut) noexcept {
  const auto first = std::ranges::find_if(cut, [](const AxisCut& along) { return along.ranks() > 1; });
  return first == cut.end() ? 0 : static_cast<std::size_t>(first - cut.begin());
}

ImageCut output_cut(const ImageCut& input, const std::array<AxisWindow, 3>& windows) {
  return cut_of_outputs(input, windows);
}
ImageCut output_cut(const ImageCut& input, const std::array<TransposedWindow, 3>& windows) {
  return cut_of_outputs(input, windows);
}

WantedCells inputs_of(const ImageCut& output, const std::array<AxisWindow, 3>& windows,
                      const ImageCut& input) {
  return wanted_of_axes(output, windows, input);
}
WantedCells inputs_of(const ImageCut& output, const std::array<TransposedWindow, 3>& windows,
                      const ImageCut& input) {
  return wanted_of_axes(output, windows, input);
}

}  // namespace bunchtrain::nn
