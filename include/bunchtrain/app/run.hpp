// SPDX-License-Identifier: Apache-2.0
#pragma once
/// `bt::run`: the frame of a program that trains.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bunchtrain/config/options.hpp"
#include "bunchtrain/train/session.hpp"

namespace bunchtrain::app {

/// Name, help and options of a program beyond the standard ones.
struct Program {
  std::string name = {};     ///< empty: from argv[0]
  std::string summary = {};  ///< first line of --help
  std::vector<config::OptionSpec> options = {};
  std::map<std::string, config::OptionValue> defaults = {};  ///< of standard options, where they differ
};

using Body = std::function<void(train::Session&)>;

/// Exit codes: 0 done, 85 checkpointed after a signal (run me again), 78 wrong options, card or data (do not
/// retry), 75 a collective failed (retry), 1 anything else.
inline constexpr int kExitUsage = 78;
inline constexpr int kExitPeerLost = 75;

/// Initialises MPI if launched with it, reads the options, sets threads and signal handlers, runs `body` and
/// returns the exit code.
///
/// One message per failure, on standard error; when one rank alone fails the whole job is ended (MPI_Abort).
/// Call it once, from `main`.
int run(int argc, char** argv, const Program& program, const Body& body);
int run(int argc, char** argv, const Body& body);

}  // namespace bunchtrain::app
