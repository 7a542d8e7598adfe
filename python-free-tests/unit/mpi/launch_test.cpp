// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/launch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::mpi {
namespace {

using testing::HasSubstr;

constexpr const char* kVariables[] = {"OMPI_COMM_WORLD_SIZE",
                                      "MV2_COMM_WORLD_SIZE",
                                      "JSM_NAMESPACE_SIZE",
                                      "PMI_SIZE",
                                      "PMIX_RANK",
                                      "PMI_RANK",
                                      "SLURM_STEP_ID",
                                      "SLURM_NTASKS",
                                      "SLURM_STEP_NUM_TASKS",
                                      "SLURM_NPROCS"};

/// Empties the launcher's variables for a test and restores them.
class LaunchTest : public testing::Test {
 protected:
  LaunchTest() {
    for (const char* name : kVariables) {
      if (const char* value = std::getenv(name)) saved_[name] = value;
      unsetenv(name);
    }
  }
  ~LaunchTest() override {
    for (const char* name : kVariables) unsetenv(name);
    for (const auto& [name, value] : saved_) setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::map<std::string, std::string> saved_;
};

struct LaunchCase {
  const char* name;
  std::vector<std::pair<const char*, const char*>> variables;
  Launch expected;
};

class LaunchTableTest : public LaunchTest, public testing::WithParamInterface<LaunchCase> {};

TEST_P(LaunchTableTest, IsDetected) {
  for (const auto& [name, value] : GetParam().variables) setenv(name, value, 1);
  const Launch launch = detect_launch();
  EXPECT_EQ(launch.by_mpi, GetParam().expected.by_mpi);
  EXPECT_EQ(launch.announced_tasks, GetParam().expected.announced_tasks);
  EXPECT_EQ(launch.announced_rank, GetParam().expected.announced_rank);
  EXPECT_EQ(launch.launcher, GetParam().expected.launcher);
}

const LaunchCase kCases[] = {
    {"Alone", {}, {.by_mpi = false, .announced_tasks = 1, .launcher = ""}},
    {"Mpirun",
     {{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "2"}},
     {.by_mpi = true, .announced_tasks = 4, .announced_rank = 2, .launcher = "mpirun"}},
    {"MpirunInsideAnAllocation",
     {{"OMPI_COMM_WORLD_SIZE", "2"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_ID", "0"}},
     {.by_mpi = true, .announced_tasks = 2, .launcher = "mpirun"}},
    {"SrunWithPmix",
     {{"PMIX_RANK", "0"}, {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}},
     {.by_mpi = true, .announced_tasks = 4, .launcher = "srun"}},
    {"SrunWithPmi2",
     {{"PMI_RANK", "0"}, {"PMI_SIZE", "4"}, {"SLURM_STEP_ID", "0"}},
     {.by_mpi = true, .announced_tasks = 4, .launcher = "srun"}},
    {"SrunWithoutPmi",
     {{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}},
     {.by_mpi = false, .announced_tasks = 4, .launcher = "srun"}},
    {"BatchScriptWithoutLauncher",
     {{"SLURM_NTASKS", "4"}},
     {.by_mpi = false, .announced_tasks = 4, .launcher = "slurm"}},
    {"Mpich",
     {{"PMI_SIZE", "3"}, {"PMI_RANK", "1"}},
     {.by_mpi = true, .announced_tasks = 3, .announced_rank = 1, .launcher = "mpiexec"}},
    {"Prterun",
     {{"PMIX_RANK", "1"}},
     {.by_mpi = true, .announced_tasks = 1, .announced_rank = 1, .launcher = "mpirun"}},
    {"NonsenseIsIgnored",
     {{"OMPI_COMM_WORLD_SIZE", "many"}, {"SLURM_NTASKS", "-3"}},
     {.by_mpi = false, .announced_tasks = 1, .launcher = ""}},
};
INSTANTIATE_TEST_SUITE_P(Launchers, LaunchTableTest, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

std::string refusal(const Launch& launch) {
  try {
    require_announced_world(launch, 1, "Open MPI v4");
  } catch (const ConfigError& error) {
    return error.message();
  }
  return "";
}

TEST_F(LaunchTest, SrunWithoutPmiIsRefusedWithTheRightLine) {
  const auto text = refusal({.by_mpi = false, .announced_tasks = 4, .launcher = "srun"});
  EXPECT_THAT(text, HasSubstr("announced 4 tasks"));
  EXPECT_THAT(text, HasSubstr("srun --mpi=pmix -n 4 mpi_launch_test"));
}

TEST_F(LaunchTest, BatchScriptWithoutLauncherIsRefusedWithTheRightLine) {
  const auto text = refusal({.by_mpi = false, .announced_tasks = 8, .launcher = "slurm"});
  EXPECT_THAT(text, HasSubstr("srun --mpi=pmix -n 8"));
  EXPECT_THAT(text, HasSubstr("SLURM_NTASKS=1"));
}

TEST_F(LaunchTest, ForeignMpirunIsRefusedNamingTheLibrary) {
  const auto text = refusal({.by_mpi = true, .announced_tasks = 2, .launcher = "mpiexec"});
  EXPECT_THAT(text, HasSubstr("Open MPI v4"));
  EXPECT_THAT(text, HasSubstr("mpirun -n 2"));
}

TEST_F(LaunchTest, FittingWorldsAreAccepted) {
  EXPECT_EQ(refusal({}), "");
  EXPECT_NO_THROW(
      require_announced_world({.by_mpi = true, .announced_tasks = 4, .launcher = "mpirun"}, 4, ""));
}

TEST_F(LaunchTest, EnvironmentOfALoneProcessDoesWithoutMpi) {
  const Environment environment;
  EXPECT_FALSE(environment.world().has_mpi());
  EXPECT_EQ(environment.world().size(), 1);
  EXPECT_EQ(environment.library_version(), "none");
}

TEST_F(LaunchTest, EnvironmentRefusesALoneTaskOfManyBeforeMpiStarts) {
  setenv("SLURM_NTASKS", "4", 1);
  EXPECT_THROW(Environment(), ConfigError);
}

TEST_F(LaunchTest, AbortWithoutMpiEndsTheProcess) {
  EXPECT_EXIT(Environment().abort(3), testing::ExitedWithCode(3), "");
}

}  // namespace
}  // namespace bunchtrain::mpi
