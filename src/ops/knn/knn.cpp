// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/ops/knn.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "knn/cpu/knn_cpu.hpp"
#include "knn_cuda.hpp"
#include "tensor_text.hpp"

namespace bunchtrain::ops {
namespace {

using detail::tensor_text;

bool is_mask(const at::Tensor& mask_or_counts) { return mask_or_counts.scalar_type() == at::kBool; }

void check_points(const at::Tensor& points) {
  const bool floating =
      points.defined() && (points.scalar_type() == at::kFloat || points.scalar_type() == at::kDouble);
  if (!floating || points.dim() != 3 || points.size(2) < 1)
    throw ConfigError(
        "points of knn", tensor_text(points),
        "[B, P, D] float32 or float64 (convert lower precisions: neighbours are found in float32)");
  if (points.size(1) > std::numeric_limits<std::int32_t>::max())
    throw ConfigError("points of knn", tensor_text(points), "at most 2^31 - 1 points in a set");
}

void check_k(std::int64_t k, const at::Tensor& points) {
  if (k < 1 || k >= points.size(1))
    throw ConfigError(
        "k of knn", fmt::format("{}", k),
        fmt::format("1 to {}: a set of {} points has that many others", points.size(1) - 1, points.size(1)));
}

void check_mask_or_counts(const at::Tensor& mask_or_counts, const at::Tensor& points) {
  const auto type = mask_or_counts.defined() ? mask_or_counts.scalar_type() : at::kFloat;
  const bool mask = type == at::kBool && mask_or_counts.sizes() == points.sizes().slice(0, 2);
  const bool counts =
      (type == at::kInt || type == at::kLong) && mask_or_counts.sizes() == points.sizes().slice(0, 1);
  if ((!mask && !counts) || mask_or_counts.device() != points.device())
    throw ConfigError("mask or counts of knn", tensor_text(mask_or_counts),
                      fmt::format("[{0}, {1}] bool, or [{0}] int32 or int64, on {2} like the points",
                                  points.size(0), points.size(1), points.device().str()));
}

/// The real points of one set after another. Mask and counts are contiguous or absent.
class RealPoints {
 public:
  RealPoints(const std::optional<at::Tensor>& mask_or_counts, std::int64_t num_points)
      : num_points_(num_points) {
    if (!mask_or_counts) return;
    if (is_mask(*mask_or_counts)) {
      mask_ = mask_or_counts->contiguous();
    } else {
      counts_ = mask_or_counts->to(at::kLong).contiguous();
      check_counts();
    }
  }

  void find(std::int64_t set, std::vector<std::int32_t>& real) const {
    if (!mask_.defined()) {
      real.resize(static_cast<std::size_t>(counts_.defined() ? counts_.const_data_ptr<std::int64_t>()[set]
                                                             : num_points_));
      std::iota(real.begin(), real.end(), 0);
      return;
    }
    const bool* mask = mask_.const_data_ptr<bool>() + set * num_points_;
    real.clear();
    for (std::int32_t i = 0; i < num_points_; ++i)
      if (mask[i]) real.push_back(i);
  }

 private:
  void check_counts() const {
    const std::int64_t* counts = counts_.const_data_ptr<std::int64_t>();
    for (std::int64_t set = 0; set < counts_.size(0); ++set)
      if (counts[set] < 0 || counts[set] > num_points_)
        throw ConfigError(fmt::format("counts[{}] of knn", set), fmt::format("{}", counts[set]),
                          fmt::format("0 to {}", num_points_));
  }

  std::int64_t num_points_;
  at::Tensor mask_;
  at::Tensor counts_;
};

template <class Real>
void knn_cpu(const at::Tensor& points, const std::optional<at::Tensor>& mask_or_counts,
             const KnnResult& result) {
  const std::int64_t num_points = points.size(1), dims = points.size(2), k = result.indices.size(2);
  const RealPoints real_points(mask_or_counts, num_points);
  const Real* data = points.const_data_ptr<Real>();
  auto* indices = result.indices.mutable_data_ptr<std::int32_t>();
  Real* distances =
      result.squared_distances.defined() ? result.squared_distances.mutable_data_ptr<Real>() : nullptr;
  at::parallel_for(0, points.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    detail::PointSet<Real> set{data, num_points, dims, {}};
    for (std::int64_t b = begin; b < end; ++b) {
      set.points = data + b * num_points * dims;
      real_points.find(b, set.real);
      const std::int64_t first = b * num_points * k;
      find_neighbours(set, {k, indices + first, distances ? distances + first : nullptr});
    }
  });
}

}  // namespace

KnnResult knn(const at::Tensor& points, const std::optional<at::Tensor>& mask_or_counts,
              const KnnOptions& options) {
  check_points(points);
  check_k(options.k, points);
  if (mask_or_counts) check_mask_or_counts(*mask_or_counts, points);

  const at::Tensor contiguous = points.detach().contiguous();
  KnnResult result;
  const auto sizes = {points.size(0), points.size(1), options.k};
  result.indices = at::empty(sizes, contiguous.options().dtype(at::kInt));
  if (options.squared_distances) result.squared_distances = at::empty(sizes, contiguous.options());
  if (contiguous.is_cuda()) {
    detail::knn_cuda(contiguous, mask_or_counts, result);
  } else if (contiguous.scalar_type() == at::kFloat) {
    knn_cpu<float>(contiguous, mask_or_counts, result);
  } else {
    knn_cpu<double>(contiguous, mask_or_counts, result);
  }
  return result;
}

}  // namespace bunchtrain::ops
