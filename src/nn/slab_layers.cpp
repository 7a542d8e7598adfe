// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/slab_layers.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {

void ToSlabImpl::set_partition(std::shared_ptr<SpatialPartition> partition) {
  slabs_ = {};
  if (partition)
    slabs_ = balanced_cut(options_.cells,
                          {partition->along(0).ranks, partition->along(1).ranks, partition->along(2).ranks},
                          options_.units);
  SpatialLayer::set_partition(std::move(partition));
}

at::Tensor ToSlabImpl::forward(const at::Tensor& image) {
  if (!partition()) return image;
  const CellBox mine = box_of(slabs_);
  at::Tensor cells = image;
  for (std::size_t axis = 0; axis < mine.size(); ++axis) {
    const auto dimension = static_cast<std::int64_t>(axis) + 1;
    const std::int64_t found = image.dim() > dimension ? image.size(dimension) : 0;
    if (found == mine[axis].size()) continue;
    if (found != options_.cells[axis])
      throw ConfigError(fmt::format("an image of {} cells along {} is cut into slabs; this one has {}",
                                    options_.cells[axis], "xyz"[axis], found));
    cells = cells.narrow(dimension, mine[axis].begin, mine[axis].size());
  }
  return cells;
}

at::Tensor ToWholeImpl::forward(const at::Tensor& slab) {
  if (!partition()) return slab;
  const ImageCut& cut = cut_of(slab);
  WantedCells all;
  for (std::size_t axis = 0; axis < all.size(); ++axis)
    all[axis].assign(static_cast<std::size_t>(cut[axis].ranks()), {0, cut[axis].extent()});
  return fetch(slab, all);
}

}  // namespace bunchtrain::nn
