// SPDX-License-Identifier: Apache-2.0
#include "direct.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

namespace bunchtrain::ops::detail {
namespace {

constexpr int kAmpere = 80;
constexpr std::int64_t kMostColumns = 8;  ///< of a layer, of its phases each
constexpr std::int64_t kMostNumber = std::numeric_limits<std::int32_t>::max();

const char* word_of(ConvolutionPass pass) {
  switch (pass) {
    case ConvolutionPass::output:
      return "output";
    case ConvolutionPass::image_gradient:
      return "image gradient";
    case ConvolutionPass::weight_gradient:
      return "weight gradient";
  }
  return "";
}

std::optional<DirectTiles> plan_of(const DirectCall& call, ConvolutionPass pass) {
  const DirectShape shape = shape_of_pass(call.geometry, call.batch, pass);
  const int bytes = call.type == at::kBFloat16 ? 2 : 4;
  const ConvolutionTiles& line = convolution_tiles(call.compute_capability);
  return pass == ConvolutionPass::weight_gradient ? plan_weight_gradient(shape, bytes, line)
                                                  : plan_convolution(shape, bytes, line);
}

/// Cells and channels are numbered by 31 bits, images by their own.
bool has_small_numbers(const DirectGeometry& g, std::int64_t batch) {
  const auto small = [](const Extent3& extent, std::int64_t channels) {
    double count = static_cast<double>(channels);
    for (const std::int64_t cells : extent) count *= static_cast<double>(cells);
    return count <= static_cast<double>(kMostNumber);
  };
  return small(g.cells, g.inputs) && small(g.fine, g.channels) && small(g.outputs, g.phases() * g.channels) &&
         batch <= kMostNumber;
}

}  // namespace

std::string why_not_direct(const DirectCall& call, ConvolutionPass pass) {
  const DirectGeometry& g = call.geometry;
  if (call.compute_capability < kAmpere)
    return fmt::format("compute capability {}.{}; they need 8.0 or later", call.compute_capability / 10,
                       call.compute_capability % 10);
  if (!call.one_type || (call.type != at::kBFloat16 && call.type != at::kFloat))
    return "other numbers than bfloat16 or tf32; they take nothing else";
  if (call.type == at::kFloat && !call.tf32) return "exact float32; they take bfloat16 and tf32";
  if (!call.unit_steps) return "a stride or dilation; they take steps of 1";
  const std::int64_t columns =
      pass == ConvolutionPass::image_gradient ? std::min(g.channels, g.inputs) : g.channels;
  if (columns > kMostColumns)
    return fmt::format("{} output channels; they take {} at most", columns, kMostColumns);
  if (!has_small_numbers(g, call.batch)) return "an image whose numbers 31 bits do not count";
  if (!plan_of(call, pass)) return "a kernel whose cells do not fit in shared memory";
  return {};
}

std::string name_of(const DirectCall& call, ConvolutionPass pass) {
  const DirectGeometry& g = call.geometry;
  const auto text = [](const Extent3& extent) { return fmt::format("{}", fmt::join(extent, "x")); };
  return fmt::format("{} {} of {} to {} channels, {} to {} cells, kernel {} at {}, phases {}",
                     call.type == at::kBFloat16 ? "bfloat16" : "tf32", word_of(pass), g.inputs, g.channels,
                     text(g.cells), text(g.fine), text(g.kernel), fmt::join(g.before, ","), text(g.factor));
}

}  // namespace bunchtrain::ops::detail
