// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Turns the return codes of MPI into CommError.

#include <source_location>
#include <string_view>

namespace bunchtrain::mpi {

/// Every return code of MPI passes here. `operation` is what was tried and where
/// ("all_max on 'world', rank 3").
/// @throws CommError with MPI's own text unless `code` is MPI_SUCCESS.
void check(int code, std::string_view operation,
           std::source_location where = std::source_location::current());

/// Whether the calling thread may call MPI: MPI runs, and this is the thread that initialised it
/// or MPI is fully threaded.
bool may_call_mpi() noexcept;

/// @throws CommError naming `operation` unless `may_call_mpi()`.
void require_mpi_thread(std::string_view operation);

}  // namespace bunchtrain::mpi
