// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The loops of `row_kernels` for one instruction set.

#include <cstdint>

#include "affine.hpp"
#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

/// Arrays go by `Activation`.
template <class S>
struct RowTable {
  void (*moments)(const S* x, std::int64_t rows, std::int64_t channels, double* sum, double* square);
  void (*affine[kActivations])(const S* x, S* y, std::int64_t rows, std::int64_t channels,
                               Affine<Real<S>> affine);
  void (*gradient_moments[kActivations])(const S* dy, const S* x, std::int64_t rows, std::int64_t channels,
                                         Affine<Real<S>> affine, double* sum, double* product);
  void (*backward[kActivations])(const S* dy, const S* x, S* dx, std::int64_t rows, std::int64_t channels,
                                 Affine<Real<S>> affine, Affine<Real<S>> correction);
};

}  // namespace bunchtrain::ops::detail
