// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Operations over arrays of floats with the widest vectors of the processor it runs on.

#include <cstddef>

#include "expression_graph.hpp"

namespace bunchtrain::features::detail {

/// Arrays given to the functions below are readable and writable up to their length
/// rounded up to this many floats.
inline constexpr std::size_t kVectorPadding = 64;

/// out[i] = op(a[i], b[i]) (b unused by operations of one argument); a, b and out may be the same array.
/// Relative error of the functions below 1e-6 (sin, cos: absolute); infinities, NaN and zeros as <cmath>.
void apply_vector(Op op, const float* a, const float* b, float* out, std::size_t count);

/// Sum in double precision.
double sum_vector(const float* values, std::size_t count);

/// Whether no value is infinite and, unless `nan_is_fine`, none is NaN.
bool is_sound_vector(const float* values, std::size_t count, bool nan_is_fine);

/// Whether somewhere `values` is NaN and `beside` is finite. Reads not beyond `count`.
bool has_nan_beside_number(const float* values, const float* beside, std::size_t count);

/// One column's transform: clip((x - subtract) * multiply, minimum, maximum).
struct Standardisation {
  float subtract = 0;
  float multiply = 1;
  float minimum = 0;
  float maximum = 0;
};
/// Applies it, keeping NaN. Returns whether all results are finite.
bool standardise_vector(const Standardisation& by, const float* values, float* out, std::size_t count);

}  // namespace bunchtrain::features::detail
