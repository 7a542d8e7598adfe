// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Owners of MPI handles whose release is local. Communicators have none: freeing them is
/// collective, so only `close()` does.

#include <mpi.h>

#include <span>
#include <string_view>

#include "bunchtrain/core/detail/unique_handle.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "bunchtrain/mpi/detail/check.hpp"

namespace bunchtrain::comm::detail {

inline bool mpi_is_finalized() noexcept {
  int flag = 0;
  MPI_Finalized(&flag);
  return flag != 0;
}

struct DatatypeTraits {
  using Handle = MPI_Datatype;
  static Handle null() noexcept { return MPI_DATATYPE_NULL; }
  static void close(Handle handle) noexcept {
    if (!mpi_is_finalized()) MPI_Type_free(&handle);
  }
};
using UniqueDatatype = UniqueHandle<DatatypeTraits>;

struct OpTraits {
  using Handle = MPI_Op;
  static Handle null() noexcept { return MPI_OP_NULL; }
  static void close(Handle handle) noexcept {
    if (!mpi_is_finalized()) MPI_Op_free(&handle);
  }
};
using UniqueOp = UniqueHandle<OpTraits>;

/// Whether all requests are complete; never waits. @throws CommError with the error of the
/// first request that failed
inline bool test_all(std::span<MPI_Request> requests, std::span<MPI_Status> statuses,
                     std::string_view operation) {
  int done = 0;
  const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, statuses.data());
  if (code == MPI_ERR_IN_STATUS) {
    for (const MPI_Status& status : statuses) {
      if (status.MPI_ERROR != MPI_ERR_PENDING) mpi::check(status.MPI_ERROR, operation);
    }
  }
  mpi::check(code, operation);
  return done != 0;
}

/// Collective: a duplicate that reports errors by return codes.
inline MPI_Comm duplicate_native(const mpi::Comm& comm) { return MPI_Comm_f2c(comm.create_handle()); }

}  // namespace bunchtrain::comm::detail
