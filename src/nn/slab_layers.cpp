// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/slab_layers.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {

void ToSlabImpl::set_partition(std::shared_ptr<SpatialPartition> partition) {
  slabs_ = partition ? AxisCut::balanced(options_.cells, partition->ranks(), options_.unit) : AxisCut();
  SpatialLayer::set_partition(std::move(partition));
}

at::Tensor ToSlabImpl::forward(const at::Tensor& image) {
  if (!partition()) return image;
  const CellRange mine = slabs_.of(partition()->rank());
  if (image.dim() >= 2 && image.size(1) == mine.size()) return image;
  if (image.dim() < 2 || image.size(1) != options_.cells)
    throw ConfigError(fmt::format("an image of {} cells along x is cut into slabs; this one has {}",
                                  options_.cells, image.dim() < 2 ? 0 : image.size(1)));
  return image.narrow(1, mine.begin, mine.size());
}

at::Tensor ToWholeImpl::forward(const at::Tensor& slab) {
  if (!partition()) return slab;
  const AxisCut& cut = cut_of(slab);
  const auto ranks = static_cast<std::size_t>(cut.ranks());
  return partition()->exchange(slab, cut, std::vector<CellRange>(ranks, {0, cut.extent()}));
}

}  // namespace bunchtrain::nn
