// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The last resting place of buffers that MPI may still touch.

#include <memory>

namespace bunchtrain::mpi {

/// Keeps what MPI may still read or write until the process ends. Thread-safe.
void leave_to_mpi(std::shared_ptr<void> buffers);

}  // namespace bunchtrain::mpi
