// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/detail/check.hpp"

#include <mpi.h>

#include <array>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::mpi {

void check(int code, std::string_view operation, std::source_location where) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  std::string message(operation);
  message += " failed: ";
  message.append(text.data(), static_cast<std::size_t>(length));
  throw CommError(message, where);
}

bool may_call_mpi() noexcept {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized == 0 || finalized != 0) return false;
  int level = MPI_THREAD_SINGLE;
  int is_main = 0;
  MPI_Query_thread(&level);
  MPI_Is_thread_main(&is_main);
  return level == MPI_THREAD_MULTIPLE || is_main != 0;
}

void require_mpi_thread(std::string_view operation) {
  if (may_call_mpi()) return;
  throw CommError(
      std::string(operation) +
      ": MPI may be called only between its initialisation and finalisation, and only from the thread that "
      "initialised it; hand the call over to that thread");
}

}  // namespace bunchtrain::mpi
