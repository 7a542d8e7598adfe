// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The elements of `ops::index_faults`.

namespace bunchtrain::ops::detail {

enum IndexFaultKind : int { kSpreadFault, kCollectFault, kIndexFaultKinds };

}  // namespace bunchtrain::ops::detail
