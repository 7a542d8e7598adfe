// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/spatial_partition.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/slab_layers.hpp"

namespace bunchtrain::nn {
namespace {

constexpr std::string_view kLibTorch = "torch::nn::";

/// Parts of the names of LibTorch's layers that look at neighbouring cells, at all cells, or draw numbers by place.
constexpr std::array<std::string_view, 15> kNeighbourly = {
    "Conv", "Pool", "Norm",      "Dropout",     "Pad",          "Upsample", "Fold",  "RNN",
    "LSTM", "GRU",  "Attention", "Transformer", "PixelShuffle", "Flatten",  "Unfold"};

bool needs_neighbours(std::string_view type) {
  if (!type.starts_with(kLibTorch)) return false;
  type.remove_prefix(kLibTorch.size());
  return std::ranges::any_of(kNeighbourly,
                             [&](std::string_view part) { return type.find(part) != type.npos; });
}

/// "torch::nn::Conv3d" of the class's name.
std::string_view layer_name(std::string_view type) {
  constexpr std::string_view kImpl = "Impl";
  if (type.ends_with(kImpl)) type.remove_suffix(kImpl.size());
  return type;
}

/// Along x, y, z; 1 along an axis that a tensor does not have.
ops::Extent3 cells_of(const at::Tensor& slab) {
  ops::Extent3 cells = {1, 1, 1};
  for (std::int64_t axis = 0; axis < std::min<std::int64_t>(3, slab.dim() - 1); ++axis)
    cells[static_cast<std::size_t>(axis)] = slab.size(1 + axis);
  return cells;
}

void refuse_neighbourly_layers(const torch::nn::Module& module) {
  for (const auto& item : module.named_modules("", /*include_self=*/false)) {
    const std::string& type = item.value()->name();
    if (needs_neighbours(type))
      throw ConfigError(fmt::format(
          "layer '{}' is a {}, which knows nothing of slabs: along the spatial axis of a mesh use layers of "
          "bunchtrain::nn (Conv3d, AveragePool, BatchNorm, SampleNorm, Dropout)",
          item.key(), layer_name(type)));
  }
}

}  // namespace

void SpatialLayer::set_partition(std::shared_ptr<SpatialPartition> partition) {
  partition_ = std::move(partition);
  cut_ = {};
}

const ImageCut& SpatialLayer::cut_of(const at::Tensor& slab) {
  const ops::Extent3 cells = cells_of(slab);
  if (cut_.front().ranks() == 0) cut_ = partition_->meet(cells);
  const CellBox met = box_of(cut_);
  for (std::size_t axis = 0; axis < cells.size(); ++axis)
    if (met[axis].size() != cells[axis])
      throw ConfigError(fmt::format(
          "a layer that works on slabs of {} x {} x {} cells got {}: along the spatial axis all images of a "
          "layer have one shape",
          met[0].size(), met[1].size(), met[2].size(), fmt::join(cells, " x ")));
  return cut_;
}

CellBox SpatialLayer::box_of(const ImageCut& cut) const {
  CellBox box;
  for (std::size_t axis = 0; axis < box.size(); ++axis)
    box[axis] = cut[axis].of(partition_->along(axis).rank);
  return box;
}

std::int64_t SpatialLayer::of_whole(const at::Tensor& slab, std::int64_t values) {
  const ImageCut& cut = cut_of(slab);
  for (std::size_t axis = 0; axis < cut.size(); ++axis)
    values = values / box_of(cut)[axis].size() * cut[axis].extent();
  return values;
}

at::Tensor SpatialLayer::fetch(const at::Tensor& slab, const WantedCells& wanted, std::size_t first) {
  const ImageCut& cut = cut_of(slab);
  at::Tensor cells = slab;
  for (std::size_t axis = cut.size(); axis-- > first;)
    if (cut[axis].ranks() > 1) cells = partition_->exchange(cells, axis, cut[axis], wanted[axis]);
  return cells;
}

void set_partition(torch::nn::Module& module, const std::shared_ptr<SpatialPartition>& partition) {
  if (partition) refuse_neighbourly_layers(module);
  bool cuts = false;
  const auto inject = [&](torch::nn::Module& part) {
    if (auto* const layer = dynamic_cast<SpatialLayer*>(&part)) layer->set_partition(partition);
    cuts = cuts || dynamic_cast<ToSlabImpl*>(&part) != nullptr;
  };
  inject(module);
  for (const auto& part : module.modules(/*include_self=*/false)) inject(*part);
  if (partition && !cuts)
    throw ConfigError(
        "no layer of the network cuts images into slabs (nn::ToSlab): there is nothing to spread along the spatial "
        "axis");
}

}  // namespace bunchtrain::nn
