// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The ranks of a test program whose main() initialised MPI.

#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain {

inline const mpi::Comm& test_world() {
  static const auto& environment = *new mpi::Environment;  // embedded: main() finalises MPI
  return environment.world();
}

}  // namespace bunchtrain
