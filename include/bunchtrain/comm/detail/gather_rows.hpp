// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tables that are spread over ranks, brought together on one of them.

#include <ATen/core/Tensor.h>

#include "bunchtrain/comm/communicator.hpp"

namespace bunchtrain::comm {

/// Collective. `rows` [n, columns] on the CPU, contiguous, n of each rank's own and columns and dtype the
/// same on all. Returns the rows of all ranks in rank order [N, columns] on `root`, and [0, columns]
/// elsewhere: only one rank needs memory for all of them, and for one copy.
at::Tensor gather_rows(const at::Tensor& rows, Communicator& communicator, int root = 0);

}  // namespace bunchtrain::comm
