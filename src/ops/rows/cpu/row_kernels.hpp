// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Loops over rows of dense [rows, channels] data on the CPU, one thread each: raw pointers, no LibTorch.

#include <cstdint>

#include "affine.hpp"
#include "storage/storage.hpp"

namespace bunchtrain::ops::detail {

/// Adds the column sums of x and of x squared, in double.
template <class S>
void add_moments(const S* x, std::int64_t rows, std::int64_t channels, double* sum, double* square);

/// The activation of y = x * scale + shift. y may be x.
template <class S>
void apply_affine(const S* x, S* y, std::int64_t rows, std::int64_t channels, Affine<Real<S>> affine,
                  Activation activation);

/// Adds the column sums of g and of g * x, where g is dy times the activation's slope at x * scale + shift.
template <class S>
void add_gradient_moments(const S* dy, const S* x, std::int64_t rows, std::int64_t channels,
                          Affine<Real<S>> affine, Activation activation, double* sum, double* product);

/// dx = scale * g - offset - slope * x with g as above: the backward pass of a normalisation. dx may be dy.
template <class S>
void normalise_backward(const S* dy, const S* x, S* dx, std::int64_t rows, std::int64_t channels,
                        Affine<Real<S>> affine, Activation activation, Affine<Real<S>> correction);

}  // namespace bunchtrain::ops::detail
