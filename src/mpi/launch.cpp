// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/launch.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>  // program_invocation_short_name
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::mpi {
namespace {

/// A variable that an MPI launcher sets to the number of ranks.
struct SizeVariable {
  const char* name;
  const char* launcher;
};

// The innermost launcher comes first: mpirun inside a SLURM allocation sees the variables of both.
constexpr std::array kMpiSizes = {
    SizeVariable{"OMPI_COMM_WORLD_SIZE", "mpirun"},
    SizeVariable{"MV2_COMM_WORLD_SIZE", "mpirun_rsh"},
    SizeVariable{"JSM_NAMESPACE_SIZE", "jsrun"},
    SizeVariable{"PMI_SIZE", "mpiexec"},
};
// Set in every process of a batch job, whether or not it was started as a task of a step.
constexpr std::array kSlurmSizes = {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"};
constexpr std::array kRankVariables = {"PMIX_RANK", "PMI_RANK"};
// A superset, innermost launcher first.
constexpr std::array kRankNumbers = {"OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                     "SLURM_PROCID"};

bool is_set(const char* name) { return std::getenv(name) != nullptr; }

std::optional<int> number_from(const char* name, int smallest) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || stop != end || value < smallest) return std::nullopt;
  return value;
}

std::optional<int> positive_number(const char* name) { return number_from(name, 1); }

int announced_rank() {
  for (const char* name : kRankNumbers) {
    if (const auto rank = number_from(name, 0)) return *rank;
  }
  return 0;
}

std::optional<int> slurm_tasks() {
  for (const char* name : kSlurmSizes) {
    if (const auto tasks = positive_number(name)) return tasks;
  }
  return std::nullopt;
}

}  // namespace

namespace {

Launch detect_launcher() {
  const bool in_slurm_step = is_set("SLURM_STEP_ID");
  for (const auto& [name, launcher] : kMpiSizes) {
    if (const auto tasks = positive_number(name)) {
      const bool is_srun = in_slurm_step && std::strcmp(launcher, "mpiexec") == 0;
      return {.by_mpi = true, .announced_tasks = *tasks, .launcher = is_srun ? "srun" : launcher};
    }
  }
  const auto tasks = slurm_tasks();
  for (const char* name : kRankVariables) {
    if (is_set(name))
      return {.by_mpi = true,
              .announced_tasks = tasks.value_or(1),
              .launcher = in_slurm_step ? "srun" : "mpirun"};
  }
  if (tasks)
    return {.by_mpi = false, .announced_tasks = *tasks, .launcher = in_slurm_step ? "srun" : "slurm"};
  return {};
}

}  // namespace

Launch detect_launch() {
  Launch launch = detect_launcher();
  launch.announced_rank = announced_rank();
  return launch;
}

void require_announced_world(const Launch& launch, int world_size, std::string_view library) {
  if (world_size > 1 || launch.announced_tasks <= 1) return;
  const char* program = program_invocation_short_name;
  const int tasks = launch.announced_tasks;
  const std::string what = fmt::format(
      "{} announced {} tasks, but this process is alone in its world of one rank", launch.launcher, tasks);
  if (launch.launcher == "srun") {
    throw ConfigError(fmt::format(
        "{}: srun did not connect the tasks for MPI. Start it with\n  srun --mpi=pmix -n {} {} ...\n"
        "(srun --mpi=list shows what this cluster offers), or inside the allocation with\n  mpirun -n {} {} "
        "...",
        what, tasks, program, tasks, program));
  }
  if (launch.launcher == "slurm") {
    throw ConfigError(
        fmt::format("{}: it was started in the batch script without a launcher. Start it with\n  srun "
                    "--mpi=pmix -n {} {} ...\n"
                    "or, for one rank on purpose, with\n  SLURM_NTASKS=1 SLURM_NPROCS=1 {} ...",
                    what, tasks, program, program));
  }
  throw ConfigError(
      fmt::format("{}: the launcher belongs to another MPI library than the program, which uses {}. Start it "
                  "with that library's own\n"
                  "  mpirun -n {} {} ...",
                  what, library, tasks, program));
}

}  // namespace bunchtrain::mpi
