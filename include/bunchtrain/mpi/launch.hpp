// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How this process was started, read from the variables that launchers set.

#include <string>
#include <string_view>

namespace bunchtrain::mpi {

/// Used for messages and to decide whether to touch MPI; never for the local rank.
struct Launch {
  bool by_mpi = false;      ///< an MPI launcher (mpirun, srun with PMI) started this process
  int announced_tasks = 1;  ///< tasks that a launcher announced (SLURM_NTASKS, OMPI_COMM_WORLD_SIZE, ...)
  int announced_rank = 0;   ///< of this process, for messages before MPI has started
  std::string launcher;     ///< "mpirun", "srun", "" ...
};

/// Reads the environment; pure apart from that.
Launch detect_launch();

/// Refuses a job whose ranks do not see each other. `library` is the MPI library in use
/// ("none"), for the message.
/// @throws ConfigError if more tasks were announced than a world of one rank has; the message
/// holds the right command line.
void require_announced_world(const Launch& launch, int world_size, std::string_view library);

}  // namespace bunchtrain::mpi
