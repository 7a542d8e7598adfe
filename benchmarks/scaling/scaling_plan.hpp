// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What the user asked the scaling benchmark for.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "step_time.hpp"

namespace scaling {

/// A trainer that can be measured.
struct Program {
  std::string name;        ///< "particlenet", "3dgan"
  std::string executable;  ///< name in the build tree's examples
  std::string samples;     ///< "jets", "showers"
};

struct Plan {
  Program program;
  std::filesystem::path trainer;
  std::string launcher;         ///< "mpirun -n {n}"; {threads} is replaced too
  std::string trainer_options;  ///< passed on as they are
  std::vector<Setting> settings;
  std::vector<std::string> data;   ///< empty: made for the purpose
  std::vector<std::string> valid;  ///< may be empty
  int threads = 1;                 ///< per rank
  std::int64_t steps = 0;          ///< per epoch of made data
  std::int64_t epochs = 0;         ///< measured in each run, after one of warm-up
  std::int64_t rounds = 1;         ///< every setting is run so often, in turns
  std::filesystem::path out;
};

std::vector<bunchtrain::config::OptionSpec> scaling_options();
/// @throws ConfigError for values that make no sense.
Plan make_plan(const bunchtrain::config::Options& options);
/// Of `ranks`: "1 2 4", "1,2,4"; rising. @throws ConfigError
std::vector<int> rank_counts(const bunchtrain::config::Options& options);
/// Of `out`. @throws ConfigError if there is such a folder already, or none is named.
std::filesystem::path new_folder(const bunchtrain::config::Options& options);
/// "weak", "strong".
std::string to_string(Mode mode);

}  // namespace scaling
