// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Initialises MPI if the process was launched with it and nobody did before; finalises
/// only what it initialised.

#include <chrono>
#include <functional>
#include <string>

#include "bunchtrain/mpi/comm.hpp"
#include "bunchtrain/mpi/launch.hpp"

namespace bunchtrain::mpi {

/// Lives for the whole of `main`. MPI is initialised with MPI_THREAD_FUNNELED by the constructing thread,
/// only if the process was launched by MPI and MPI is not initialised yet. In an application that initialised
/// MPI itself, the constructor is collective over MPI_COMM_WORLD and the application finalises.
/// @throws ConfigError if a launcher announced more tasks than the world has ranks; the
/// message holds the right line.
/// @throws CommError if MPI was finalised before.
class Environment {
 public:
  struct Options {
    /// Of the world's collectives, and of MPI's own start and end.
    std::chrono::milliseconds timeout = kDefaultTimeout;
    /// Called by another thread when MPI's start or end takes longer than the timeout, with the reason; must
    /// end the process, for MPI cannot be interrupted. Without it these two wait as long as MPI does.
    std::function<void(const std::string&)> on_hang = {};
  };
  Environment() : Environment(Options{}) {}
  explicit Environment(Options options);
  /// Finalises MPI if this object initialised it, no exception is in flight and no communicator of the job
  /// failed (`Comm::mark_failed`); else does nothing, since MPI_Finalize waits for all ranks.
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
  Options options_;
  Launch launch_;
  int exceptions_at_start_;
  bool owns_mpi_ = false;
  Comm world_;
};

}  // namespace bunchtrain::mpi
