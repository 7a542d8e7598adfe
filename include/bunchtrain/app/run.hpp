// SPDX-License-Identifier: Apache-2.0
#pragma once
/// `bt::run`: the frame of a program that trains.

#include <exception>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/comm/mesh_shape.hpp"
#include "bunchtrain/config/options.hpp"
#include "bunchtrain/train/session.hpp"
#include "bunchtrain/train/stop_signal.hpp"

namespace bunchtrain::app {

/// Name, help and options of a program beyond the standard ones.
struct Program {
  std::string name = {};                         ///< empty: from argv[0]
  std::string summary = {};                      ///< first line of --help
  std::vector<config::OptionSpec> options = {};  ///< one with a standard name takes the standard one's place
  std::map<std::string, config::OptionValue> defaults = {};  ///< of standard options, where they differ
  std::vector<comm::Axis> axes = {comm::Axis::data};         ///< along which it can train (--mesh)
  std::vector<std::string> without = {};  ///< options that mean nothing here: not in --help, refused as flags
};

/// All standard options but these, for `Program::without`.
std::vector<std::string> standard_options_but(std::initializer_list<std::string_view> kept);

using Body = std::function<void(train::Session&)>;

/// Exit codes, the same for every program and moment:
///
/// | code | meaning |
/// | --- | --- |
/// | 0 | done, also early: by a callback, --patience or the program's own stop |
/// | 85 | stopped by USR1, USR2, TERM or HUP: run me again with --resume (`train::kExitCheckpointed`) |
/// | 130 | the same after Ctrl-C (`train::kExitInterrupted`) |
/// | 78 | wrong options, card, data or snapshots: do not retry (`kExitUsage`) |
/// | 75 | a rank was lost, a disk is full or fails: retry (`kExitRetry`) |
/// | 1 | anything else: training that leads nowhere, a device, memory, a bug (`kExitError`) |
///
/// From exceptions: CommError and IoError are 75; ConfigError, DataError, CheckpointError and NotBuiltError
/// 78; of std::system_error a full disk and the like are 75, missing and forbidden files 78.
inline constexpr int kExitError = 1;
inline constexpr int kExitRetry = 75;
inline constexpr int kExitUsage = 78;

/// The code of a program that ends by `error`.
int exit_code_of(const std::exception& error) noexcept;
/// The code of a program that ends by `Interrupted`, or by a signal while it had nothing to save.
int exit_code_after(int signal) noexcept;
/// The text for the user; says in words what the standard library does not.
std::string describe_error(const std::exception& error);

/// Installs signal handlers, reads the options, initialises MPI if launched with it, sets threads, runs
/// `body` and returns the exit code.
///
/// From its first line on a signal ends the program within seconds and with the right code: in a training
/// after the step and its snapshot, elsewhere at once (`train::OrderlyStop`). MPI's start and end and every
/// collective obey --timeout. One message per failed job, on standard error; when one rank alone fails the
/// whole job is ended (MPI_Abort). Call it once, from `main`.
int run(int argc, char** argv, const Program& program, const Body& body);
int run(int argc, char** argv, const Body& body);

}  // namespace bunchtrain::app
