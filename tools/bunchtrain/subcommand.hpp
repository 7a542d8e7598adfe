// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The subcommands of the `bunchtrain` program. Each takes the words after its own name
/// and returns an exit code.

#include <functional>

#include "bunchtrain/config/options.hpp"

namespace bunchtrain::tool {

int bench_infer(int argc, char** argv);
int bench_io(int argc, char** argv);
int evaluate(int argc, char** argv);  ///< initialises MPI if launched with it; the others never do
int export_network(int argc, char** argv);
int generate_gflash(int argc, char** argv);
int generate_jets(int argc, char** argv);
int generate_showers(int argc, char** argv);
int info(int argc, char** argv);
int inspect(int argc, char** argv);
int models_add(int argc, char** argv);
int models_list(int argc, char** argv);
int models_show(int argc, char** argv);
int models_verify(int argc, char** argv);
int plan(int argc, char** argv);
int repack(int argc, char** argv);
int report(int argc, char** argv);
int score(int argc, char** argv);
int validate_showers(int argc, char** argv);

/// @throws ConfigError if --out names no file.
void require_out(const config::Options& given);

/// Parses, prints help if asked, runs `body`, prints one message on failure. `body` returns the exit code.
int run_with_code(config::Options options, int argc, char** argv,
                  const std::function<int(const config::Options&)>& body);

/// The same for a body that returns nothing: 0 if it does not throw.
int run_subcommand(config::Options options, int argc, char** argv,
                   const std::function<void(const config::Options&)>& body);

}  // namespace bunchtrain::tool
