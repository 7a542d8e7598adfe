// SPDX-License-Identifier: Apache-2.0
#include "row_operations.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "bunchtrain/ops/kernels.hpp"
#include "row_cuda.hpp"
#include "rows/cpu/row_kernels.hpp"
#include "rows/row_storage.hpp"

namespace bunchtrain::ops::detail {
namespace {

/// Rows are summed in blocks of this many, and the blocks' sums in order: the result does
/// not depend on the threads.
constexpr std::int64_t kBlockRows = 2048;
constexpr std::int64_t kMaxBlocks = 256;

struct Blocks {
  std::int64_t count;
  std::int64_t rows;
  explicit Blocks(std::int64_t total) {
    rows = std::max(kBlockRows, (total + kMaxBlocks - 1) / kMaxBlocks);
    count = (total + rows - 1) / rows;
  }
};

bool has_kernels(const at::Tensor& x) {
  return kernels() == Kernels::automatic && x.is_cpu() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble ||
          x.scalar_type() == at::kBFloat16);
}

/// [2, C] of [blocks, 2 C + 1].
at::Tensor sum_partials(const at::Tensor& partials) {
  return sum_partials_cuda(partials).narrow(1, 0, partials.size(1) - 1).reshape({2, -1});
}

template <class S>
Affine<Real<S>> affine_of(const at::Tensor& scale, const at::Tensor& shift) {
  return {data_of<Real<S>>(scale), data_of<Real<S>>(shift)};
}

/// Calls `call(first, last, counted)` for the runs of equal mask in [begin, end).
template <class Call>
void for_runs(const bool* mask, std::int64_t begin, std::int64_t end, Call&& call) {
  if (!mask) return call(begin, end, true);
  for (std::int64_t first = begin; first < end;) {
    std::int64_t last = first + 1;
    while (last < end && mask[last] == mask[first]) ++last;
    call(first, last, mask[first]);
    first = last;
  }
}

/// [2, C] sums over blocks of rows; `add(begin, end, sum, product)` adds one block.
template <class Add>
at::Tensor sum_blocks(const at::Tensor& x, Add&& add) {
  const Blocks blocks(x.size(0));
  const std::int64_t channels = x.size(1);
  const at::Tensor partial = at::zeros({blocks.count, 2, channels}, at::kDouble);
  double* sums = partial.mutable_data_ptr<double>();
  at::parallel_for(0, blocks.count, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      double* sum = sums + block * 2 * channels;
      add(block * blocks.rows, std::min(x.size(0), (block + 1) * blocks.rows), sum, sum + channels);
    }
  });
  return partial.sum(0);
}

template <class Apply>
void for_blocks(std::int64_t rows, Apply&& apply) {
  at::parallel_for(0, rows, kBlockRows / 4, std::forward<Apply>(apply));
}

const bool* mask_data(const at::Tensor& mask) {
  return mask.defined() ? mask.const_data_ptr<bool>() : nullptr;
}

Activation activation_of(const Normaliser& normaliser) {
  return normaliser.relu ? Activation::relu : Activation::none;
}

/// dy where the ReLU behind the normaliser lets it through, in the compute type.
at::Tensor kept_gradient(const at::Tensor& dy, const at::Tensor& x, const Normaliser& normaliser) {
  if (!normaliser.relu) return dy;
  return at::where(x.mul(normaliser.scale).add(normaliser.shift).gt(0), dy, 0.0);
}

}  // namespace

at::ScalarType compute_type(at::ScalarType type) noexcept {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

bool has_cuda_kernels(const at::Tensor& x) noexcept {
  return kernels() == Kernels::automatic && x.is_cuda() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf);
}

at::Tensor row_moments(const at::Tensor& x, const at::Tensor& mask) {
  if (has_cuda_kernels(x)) return sum_partials(partial_moments_cuda(x, mask));
  if (!has_kernels(x)) {
    at::Tensor values = x.to(at::kDouble);
    if (mask.defined()) values = values.mul(mask.unsqueeze(1));
    return at::stack({values.sum(0), values.square().sum(0)});
  }
  at::Tensor sums;
  for_storage(x, [&]<class S>(S) {
    sums = sum_blocks(x, [&](std::int64_t begin, std::int64_t end, double* sum, double* square) {
      for_runs(mask_data(mask), begin, end, [&](std::int64_t first, std::int64_t last, bool counted) {
        if (counted) add_moments(data_of<S>(x) + first * x.size(1), last - first, x.size(1), sum, square);
      });
    });
  });
  return sums;
}

at::Tensor normalise_rows(const at::Tensor& x, const Normaliser& normaliser) {
  if (has_cuda_kernels(x)) return normalise_rows_cuda(x, normaliser);
  if (!has_kernels(x)) {
    const at::Tensor y = x.to(compute_type(x.scalar_type())).mul(normaliser.scale).add(normaliser.shift);
    return (normaliser.relu ? at::relu(y) : y).to(x.scalar_type());
  }
  const at::Tensor y = at::empty_like(x);
  for_storage(x, [&]<class S>(S) {
    const auto affine = affine_of<S>(normaliser.scale, normaliser.shift);
    for_blocks(x.size(0), [&](std::int64_t first, std::int64_t last) {
      const std::int64_t place = first * x.size(1);
      apply_affine(data_of<S>(x) + place, static_cast<S*>(y.mutable_data_ptr()) + place, last - first,
                   x.size(1), affine, activation_of(normaliser));
    });
  });
  return y;
}

at::Tensor row_gradient_moments(const at::Tensor& dy, const at::Tensor& x, const Normaliser& normaliser) {
  if (has_cuda_kernels(x)) return sum_partials(partial_gradient_moments_cuda(dy, x, normaliser));
  if (!has_kernels(x)) {
    const at::Tensor values = x.to(compute_type(x.scalar_type()));
    const at::Tensor kept = kept_gradient(dy.to(values.scalar_type()), values, normaliser).to(at::kDouble);
    return at::stack({kept.sum(0), kept.mul(values).sum(0)});
  }
  at::Tensor sums;
  for_storage(x, [&]<class S>(S) {
    const auto affine = affine_of<S>(normaliser.scale, normaliser.shift);
    sums = sum_blocks(x, [&](std::int64_t begin, std::int64_t end, double* sum, double* product) {
      const std::int64_t place = begin * x.size(1);
      add_gradient_moments(data_of<S>(dy) + place, data_of<S>(x) + place, end - begin, x.size(1), affine,
                           activation_of(normaliser), sum, product);
    });
  });
  return sums;
}

at::Tensor normalise_rows_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& mask,
                                   const Normaliser& normaliser, const Correction& correction) {
  if (has_cuda_kernels(x)) return normalise_rows_backward_cuda(dy, x, mask, normaliser, correction);
  if (!has_kernels(x)) {
    const at::Tensor values = x.to(compute_type(x.scalar_type()));
    const at::Tensor kept = kept_gradient(dy.to(values.scalar_type()), values, normaliser);
    at::Tensor subtracted = correction.offset.add(correction.slope.mul(values));
    if (mask.defined()) subtracted = subtracted.mul(mask.unsqueeze(1));
    return normaliser.scale.mul(kept).sub(subtracted).to(x.scalar_type());
  }
  const at::Tensor dx = at::empty_like(x);
  const at::Tensor none = at::zeros_like(correction.slope);
  for_storage(x, [&]<class S>(S) {
    const auto affine = affine_of<S>(normaliser.scale, normaliser.shift);
    const auto counted_rows = affine_of<S>(correction.slope, correction.offset);
    const auto other_rows = affine_of<S>(none, none);
    for_blocks(x.size(0), [&](std::int64_t begin, std::int64_t end) {
      for_runs(mask_data(mask), begin, end, [&](std::int64_t first, std::int64_t last, bool counted) {
        const std::int64_t place = first * x.size(1);
        normalise_backward(data_of<S>(dy) + place, data_of<S>(x) + place,
                           static_cast<S*>(dx.mutable_data_ptr()) + place, last - first, x.size(1), affine,
                           activation_of(normaliser), counted ? counted_rows : other_rows);
      });
    });
  });
  return dx;
}

}  // namespace bunchtrain::ops::detail
