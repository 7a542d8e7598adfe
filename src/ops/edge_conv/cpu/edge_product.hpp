// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Products of a piece's rows with a layer's weight, on the calling thread. float32 takes our own kernels, whose operands
/// need no packing and which know of no make of processor; the others LibTorch's, which has bfloat16's instructions.

#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

#include <type_traits>
#include <vector>

#include "rows/cpu/outer_products.hpp"
#include "rows/cpu/row_products.hpp"
#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

/// y = x weight for edges of storage type S. Immutable, thread-safe.
template <class S>
class EdgeProduct {
 public:
  /// @param weight [in, out] of type S
  explicit EdgeProduct(at::Tensor weight) : weight_(std::move(weight)) {
    if constexpr (std::is_same_v<S, float>) {
      const at::Tensor dense = weight_.contiguous();
      const std::vector<float> no_bias(static_cast<std::size_t>(dense.size(1)));
      panels_ = pack_panels(dense.const_data_ptr<float>(), no_bias.data(), dense.size(0), dense.size(1));
    }
  }

  /// @pre x [rows, in] and y [rows, out] are contiguous and do not overlap
  void multiply(const at::Tensor& x, at::Tensor y) const {
    if constexpr (std::is_same_v<S, float>) {
      multiply_rows({panels_.data(), weight_.size(0), weight_.size(1), false}, x.const_data_ptr<float>(),
                    x.size(0), y.mutable_data_ptr<float>());
    } else {
      at::mm_out(y, x, weight_);
    }
  }

 private:
  at::Tensor weight_;
  AlignedFloats panels_;
};

/// sum += dy^T x, `sum` [out, in] kept in the compute type of edges stored as S. @pre contiguous
template <class S>
void add_weight_gradient(at::Tensor sum, const at::Tensor& dy, const at::Tensor& x) {
  if constexpr (std::is_same_v<S, float>) {
    add_outer_products(dy.const_data_ptr<float>(), x.const_data_ptr<float>(), x.size(0), dy.size(1),
                       x.size(1), sum.mutable_data_ptr<float>());
  } else if constexpr (std::is_same_v<S, Real<S>>) {
    at::addmm_out(sum, sum, dy.t(), x);
  } else {
    sum.add_(at::mm(dy.t(), x));
  }
}

}  // namespace bunchtrain::ops::detail
