// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The gamma distribution: its integral and its variates.

#include "bunchtrain/core/random.hpp"

namespace bunchtrain::simulate {

/// Regularised lower incomplete gamma function P(shape, x). @pre shape > 0, x >= 0
double incomplete_gamma(double shape, double x) noexcept;

/// A variate of unit scale, mean `shape` and variance `shape`. @pre shape > 0
double gamma_variate(double shape, RandomSequence& random) noexcept;

}  // namespace bunchtrain::simulate
