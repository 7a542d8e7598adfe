// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What loops over channels on the CPU scale and shift by.

namespace bunchtrain::ops::detail {

/// y = x * scale + shift per channel.
template <class R>
struct Affine {
  const R* scale;
  const R* shift;
};

}  // namespace bunchtrain::ops::detail
