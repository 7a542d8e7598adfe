// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The elements of `ops::index_faults`.

namespace bunchtrain::ops::detail {

inline constexpr int kSpreadFault = 0, kCollectFault = 1;
inline constexpr int kIndexFaultKinds = 2;

}  // namespace bunchtrain::ops::detail
