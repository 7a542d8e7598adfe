// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/ragged_knn.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <limits>

#include "bunchtrain/core/error.hpp"
#include "knn/cpu/ragged_search.hpp"
#include "knn_cuda.hpp"
#include "tensor_text.hpp"

namespace bunchtrain::ops {
namespace {

using detail::tensor_text;

static_assert(kMaxRaggedNeighbours == detail::kMaxRaggedK && kMaxRaggedDims == detail::kMostTreeDims);

void check_points(const at::Tensor& points) {
  if (!points.defined() || points.scalar_type() != at::kFloat || points.dim() != 2)
    throw ConfigError("points of ragged_knn", tensor_text(points),
                      "[N, D] float32 (convert other precisions: neighbours are found in float32)");
  if (points.size(1) < 1 || points.size(1) > kMaxRaggedDims)
    throw ConfigError(
        "points of ragged_knn", tensor_text(points),
        fmt::format(
            "1 to {} coordinates: in more, boxes leave nothing out; knn on padded sets takes any number",
            kMaxRaggedDims));
  if (points.size(0) > std::numeric_limits<std::int32_t>::max())
    throw ConfigError("points of ragged_knn", tensor_text(points),
                      "at most 2^31 - 1 points: search the sets in several calls");
}

void check_k(std::int64_t k) {
  if (k < 1 || k > kMaxRaggedNeighbours)
    throw ConfigError("k of ragged_knn", fmt::format("{}", k), fmt::format("1 to {}", kMaxRaggedNeighbours));
}

void check_row_splits(const at::Tensor& row_splits, const at::Tensor& points) {
  const bool integers =
      row_splits.defined() && (row_splits.scalar_type() == at::kLong || row_splits.scalar_type() == at::kInt);
  if (!integers || row_splits.dim() != 1 || row_splits.size(0) < 1 ||
      (!row_splits.is_cpu() && row_splits.device() != points.device()))
    throw ConfigError(
        "row_splits of ragged_knn", tensor_text(row_splits),
        fmt::format("[S + 1] int64 or int32, on the CPU or on {} like the points", points.device().str()));
}

void check_order(const at::Tensor& tensor, std::int64_t num_points) {
  const std::span row_splits(tensor.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(tensor.size(0)));
  const std::size_t last = row_splits.size() - 1;
  for (std::size_t s = 0; s <= last; ++s) {
    const std::int64_t least = s == 0 ? 0 : row_splits[s - 1];
    const bool fits = s == 0 ? row_splits[s] == 0 : row_splits[s] >= least && row_splits[s] <= num_points;
    if (!fits)
      throw ConfigError(fmt::format("row_splits[{}] of ragged_knn", s), fmt::format("{}", row_splits[s]),
                        s == 0 ? std::string("0") : fmt::format("{} to {}", least, num_points));
  }
  if (row_splits[last] != num_points)
    throw ConfigError(fmt::format("row_splits[{}] of ragged_knn", last), fmt::format("{}", row_splits[last]),
                      fmt::format("{}, the number of points", num_points));
}

void parallel_for(std::int64_t count, std::int64_t grain,
                  const std::function<void(std::int64_t, std::int64_t)>& part) {
  at::parallel_for(0, count, grain, part);
}

void ragged_knn_cpu(const at::Tensor& tensor, const at::Tensor& row_splits, const KnnResult& result) {
  const detail::RaggedPoints points{.points = tensor.const_data_ptr<float>(),
                                    .dims = tensor.size(1),
                                    .row_splits = {row_splits.const_data_ptr<std::int64_t>(),
                                                   static_cast<std::size_t>(row_splits.size(0))}};
  const detail::RaggedRows rows{.k = result.indices.size(1),
                                .indices = result.indices.mutable_data_ptr<std::int32_t>(),
                                .squared_distances = result.squared_distances.defined()
                                                         ? result.squared_distances.mutable_data_ptr<float>()
                                                         : nullptr};
  const detail::PointTree tree = build_point_tree(points, parallel_for);
  parallel_for(tree.num_blocks(), 8,
               [&](std::int64_t begin, std::int64_t end) { search_blocks(tree, begin, end, rows); });
  parallel_for(points.num_sets(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t set = begin; set < end; ++set) search_odd_points(points, tree, set, rows);
  });
}

}  // namespace

KnnResult ragged_knn(const at::Tensor& points, const at::Tensor& row_splits, const KnnOptions& options) {
  check_points(points);
  check_k(options.k);
  check_row_splits(row_splits, points);
  const at::Tensor splits = row_splits.to(at::kLong).contiguous();
  if (splits.is_cpu()) check_order(splits, points.size(0));

  const at::Tensor contiguous = points.detach().contiguous();
  KnnResult result;
  const auto sizes = {points.size(0), options.k};
  result.indices = at::empty(sizes, contiguous.options().dtype(at::kInt));
  if (options.squared_distances) result.squared_distances = at::empty(sizes, contiguous.options());
  points.is_cuda() ? detail::ragged_knn_cuda(contiguous, splits, result)
                   : ragged_knn_cpu(contiguous, splits, result);
  return result;
}

}  // namespace bunchtrain::ops
