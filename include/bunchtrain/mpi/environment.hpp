// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Initialises MPI if the process was launched with it and nobody did before; finalises only what it initialised.

#include <string>

#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::mpi {

/// How this process was started, from the launcher's variables (used for messages and to decide whether to touch MPI).
struct Launch {
  bool by_mpi = false;      ///< an MPI launcher (mpirun, srun with PMI) started this process
  int announced_tasks = 1;  ///< tasks that a launcher announced (SLURM_NTASKS, OMPI_COMM_WORLD_SIZE, ...)
  std::string launcher;     ///< "mpirun", "srun", "" ...
};

/// Reads the environment; pure apart from that.
Launch detect_launch();

/// Lives for the whole of `main`. MPI is initialised with MPI_THREAD_FUNNELED by the constructing thread, only if the
/// process was launched by MPI and MPI is not initialised yet.
/// @throws ConfigError if a launcher announced more tasks than the world has ranks; the message holds the right line.
class Environment {
 public:
  Environment();
  /// Finalises MPI if this object initialised it and no exception is in flight; never hangs: with an exception in flight it does nothing.
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// All ranks of the job: a duplicate of MPI_COMM_WORLD, or a world of one.
  const Comm& world() const noexcept { return world_; }
  const Launch& launch() const noexcept { return launch_; }
  /// "Open MPI v4.1.4, ..." or "none".
  std::string library_version() const;
  /// Ends the whole job at once with `exit_code` (MPI_Abort, or _Exit without MPI).
  [[noreturn]] void abort(int exit_code) const noexcept;

 private:
  Launch launch_;
  bool owns_mpi_ = false;
  Comm world_;
};

}  // namespace bunchtrain::mpi
