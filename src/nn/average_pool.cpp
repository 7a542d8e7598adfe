// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/average_pool.hpp"

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {
namespace {

at::Tensor means(const at::Tensor& cells, const ops::Extent3& block) {
  const auto [bx, by, bz] = block;
  const std::int64_t x = cells.size(1) / bx, y = cells.size(2) / by, z = cells.size(3) / bz;
  return cells.slice(1, 0, x * bx)
      .slice(2, 0, y * by)
      .slice(3, 0, z * bz)
      .reshape({cells.size(0), x, bx, y, by, z, bz, cells.size(4)})
      .mean({2, 4, 6});
}

}  // namespace

AveragePoolImpl::AveragePoolImpl(AveragePoolOptions options) : options_(options) {
  for (const std::int64_t along : options_.block) expects(along > 0, "a pooling's block has cells");
}

at::Tensor AveragePoolImpl::forward(const at::Tensor& cells) {
  if (!partition()) return means(cells, options_.block);
  std::array<AxisWindow, 3> windows;
  for (std::size_t axis = 0; axis < windows.size(); ++axis)
    windows[axis] = {.kernel = options_.block[axis], .stride = options_.block[axis]};
  const ImageCut& cut = cut_of(cells);
  return means(fetch(cells, inputs_of(output_cut(cut, windows), windows, cut)), options_.block);
}

}  // namespace bunchtrain::nn
