// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The other ranks of this node, found without MPI: while MPI starts or ends nobody can be asked.

#include <string>

namespace bunchtrain::mpi {

/// Ranks with the same launcher on this node that are stopped: "rank 1 (process 4711 is stopped)"; empty if
/// there are none.
std::string stopped_siblings();

}  // namespace bunchtrain::mpi
