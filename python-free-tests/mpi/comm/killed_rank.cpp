// SPDX-License-Identifier: Apache-2.0
// A rank dies in mid-step. Run by killed_test under mpirun; the other ranks would wait for ever.
#include <ATen/ops/ones.h>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/mpi/environment.hpp"

int main() {
  namespace bt = bunchtrain;
  const bt::mpi::Environment environment;
  auto comm =
      bt::comm::Communicator::create(environment.world(), c10::kCPU, {.timeout = std::chrono::hours(1)});
  const auto tensor = at::ones({1'000'000});
  for (int step = 0; step < 10; ++step) comm.all_reduce(tensor).wait();
  if (comm.rank() == 0) {
    std::puts("steps done");
    std::fflush(stdout);
  }
  auto work = comm.all_reduce(tensor);
  if (comm.rank() == 1) std::raise(SIGKILL);
  work.wait();
  std::puts("survived");
  return 0;
}
