// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What c10d::Reducer needs to run over MPI, since LibTorch ships without its MPI backend.

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

namespace bunchtrain::benchmark {

/// A process group of MPI_COMM_WORLD with all_reduce and broadcast of CPU tensors.
c10::intrusive_ptr<c10d::ProcessGroup> create_mpi_process_group();

}  // namespace bunchtrain::benchmark
