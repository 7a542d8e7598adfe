// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "../knn_cuda.hpp"
#include "knn_kernels.hpp"
#include "ragged_knn_kernels.hpp"

namespace bunchtrain::ops::detail {
namespace {

template <class Real>
void launch(const at::Tensor& points, const at::Tensor& mask, const at::Tensor& counts,
            const KnnResult& result) {
  KnnArguments<Real> arguments{};
  arguments.points = points.const_data_ptr<Real>();
  if (mask.defined()) arguments.mask = mask.const_data_ptr<bool>();
  if (counts.defined()) arguments.counts = counts.const_data_ptr<std::int32_t>();
  arguments.indices = result.indices.mutable_data_ptr<std::int32_t>();
  if (result.squared_distances.defined())
    arguments.squared_distances = result.squared_distances.mutable_data_ptr<Real>();
  arguments.sets = static_cast<int>(points.size(0));
  arguments.num_points = static_cast<int>(points.size(1));
  arguments.dims = static_cast<int>(points.size(2));
  arguments.k = static_cast<int>(result.indices.size(2));
  launch_knn(arguments, c10::cuda::getCurrentCUDAStream());
}

}  // namespace

void knn_cuda(const at::Tensor& points, const std::optional<at::Tensor>& mask_or_counts,
              const KnnResult& result) {
  const c10::cuda::CUDAGuard guard(points.device());
  at::Tensor mask, counts;
  if (mask_or_counts && mask_or_counts->scalar_type() == at::kBool) {
    mask = mask_or_counts->contiguous();
  } else if (mask_or_counts) {
    // Reading them here to complain would wait for the device; the kernel must stay within the set.
    counts = at::clamp(*mask_or_counts, 0, points.size(1)).to(at::kInt).contiguous();
  }
  points.scalar_type() == at::kFloat ? launch<float>(points, mask, counts, result)
                                     : launch<double>(points, mask, counts, result);
}

void ragged_knn_cuda(const at::Tensor& points, const at::Tensor& row_splits, const KnnResult& result) {
  const c10::cuda::CUDAGuard guard(points.device());
  const at::Tensor splits = row_splits.to(points.device(), at::kLong).contiguous();
  RaggedKnnArguments arguments{.points = points.const_data_ptr<float>(),
                               .row_splits = splits.const_data_ptr<std::int64_t>(),
                               .indices = result.indices.mutable_data_ptr<std::int32_t>(),
                               .squared_distances = nullptr,
                               .num_points = points.size(0),
                               .sets = splits.size(0) - 1,
                               .dims = static_cast<int>(points.size(1)),
                               .k = static_cast<int>(result.indices.size(1))};
  if (arguments.num_points == 0 || arguments.sets == 0) return;
  if (result.squared_distances.defined())
    arguments.squared_distances = result.squared_distances.mutable_data_ptr<float>();
  const at::Tensor scratch =
      at::empty({ragged_knn_scratch_bytes(arguments)}, points.options().dtype(at::kByte));
  launch_ragged_knn(arguments, scratch.mutable_data_ptr(), c10::cuda::getCurrentCUDAStream());
}

}  // namespace bunchtrain::ops::detail
