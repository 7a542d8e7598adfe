// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How many threads a rank may use, from its affinity and the ranks beside it (DESIGN decision 15).

#include <string>
#include <vector>

namespace bunchtrain::device {

/// The processors and ranks of one node, as one rank sees them.
struct ThreadSituation {
  std::vector<int> allowed_cpus = {};  ///< this rank's affinity mask (cpusets and binding included)
  int online_cpus = 1;                 ///< usable by this job on the node (cpuset of the whole job if known)
  int local_ranks = 1;                 ///< ranks on this node
  int requested_threads = 0;           ///< `--threads`, 0 = not given
  int omp_num_threads = 0;             ///< `OMP_NUM_THREADS`, 0 = not given
};

/// What a rank uses: compute threads of LibTorch and decode threads of the loader.
struct ThreadBudget {
  int compute = 1;
  int loader = 1;
  std::string reason = {};   ///< "2 of 2 CPUs, 2 ranks on this node": for the log
  std::string warning = {};  ///< not empty if the rank is bound to one core while others idle; names the
                             ///< mpirun option that mends it
};

/// This process's affinity and OMP_NUM_THREADS; `local_ranks` must be set by the caller.
ThreadSituation observe_threads(int local_ranks, int requested_threads);
/// Pure: decides from a situation.
ThreadBudget make_thread_budget(const ThreadSituation& situation);
/// Sets LibTorch's intra-op threads. Only applications (`bt::run`) call this.
void apply(const ThreadBudget& budget);

}  // namespace bunchtrain::device
