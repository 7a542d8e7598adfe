// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/thread_budget.hpp"

#include <ATen/Parallel.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::device {

namespace {

constexpr int kComputePerLoaderThread = 4;
constexpr int kMaxLoaderThreads = 8;

std::vector<int> affinity_of(pid_t process) {
  std::vector<int> cpus;
  // CPU_ALLOC'ed: nodes with more than CPU_SETSIZE processors exist.
  constexpr int kMaxCpus = 16384;
  cpu_set_t* const mask = CPU_ALLOC(kMaxCpus);
  const std::size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
  if (sched_getaffinity(process, bytes, mask) == 0) {
    for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, mask)) cpus.push_back(cpu);
    }
  }
  CPU_FREE(mask);
  return cpus;
}

/// CPUs that a container's quota grants (cgroup v2: "MICROSECONDS PERIOD"), or `otherwise`.
int cpus_by_quota(int otherwise) {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0;
  double period = 0;
  if (!(file >> quota >> period) || quota <= 0 || period <= 0) return otherwise;
  return std::clamp(static_cast<int>(std::ceil(quota / period)), 1, otherwise);
}

int positive_environment(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? 0 : std::max(0, std::atoi(text));
}

std::string plural(int count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string binding_warning(int allowed, int fair, const ThreadSituation& situation) {
  const int idle = situation.online_cpus - allowed * situation.local_ranks;
  return "this rank is bound to " + plural(allowed, "CPU") + " while " + std::to_string(idle) + " of " +
         plural(situation.online_cpus, "CPU") +
         " on this node stay idle; start with mpirun --map-by slot:PE=" + std::to_string(fair) +
         " (or --bind-to none)";
}

}  // namespace

ThreadSituation observe_threads(int local_ranks, int requested_threads) {
  ThreadSituation situation;
  situation.allowed_cpus = affinity_of(0);
  // The launcher itself is not bound: its affinity is that of the whole job.
  std::vector<int> job = affinity_of(getppid());
  job.insert(job.end(), situation.allowed_cpus.begin(), situation.allowed_cpus.end());
  const int cpus = std::max(1, static_cast<int>(std::set<int>(job.begin(), job.end()).size()));
  situation.online_cpus = cpus_by_quota(cpus);
  situation.local_ranks = std::max(1, local_ranks);
  situation.requested_threads = requested_threads;
  situation.omp_num_threads = positive_environment("OMP_NUM_THREADS");
  return situation;
}

ThreadBudget make_thread_budget(const ThreadSituation& situation) {
  const int allowed = std::max(1, static_cast<int>(situation.allowed_cpus.size()));
  const int fair = std::max(1, situation.online_cpus / std::max(1, situation.local_ranks));
  const int available = std::min(allowed, fair);

  ThreadBudget budget;
  budget.compute = available;
  budget.loader = std::clamp(available / kComputePerLoaderThread, 1, kMaxLoaderThreads);
  budget.reason = std::to_string(available) + " of " + plural(situation.online_cpus, "CPU") + ", " +
                  plural(situation.local_ranks, "rank") + " on this node";
  if (situation.requested_threads > 0) {
    budget.compute = situation.requested_threads;
    budget.reason = setting("threads", std::to_string(situation.requested_threads));
  } else if (situation.omp_num_threads > 0) {
    budget.compute = situation.omp_num_threads;
    budget.reason = "OMP_NUM_THREADS=" + std::to_string(situation.omp_num_threads);
  }
  if (allowed < fair) budget.warning = binding_warning(allowed, fair, situation);
  return budget;
}

void apply(const ThreadBudget& budget) { at::set_num_threads(budget.compute); }

}  // namespace bunchtrain::device
