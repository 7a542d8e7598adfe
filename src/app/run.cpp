// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/run.hpp"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "bunchtrain/train/standard_options.hpp"
#include "bunchtrain/train/stop_signal.hpp"

namespace bunchtrain::app {
namespace {

LogLevel parse_level(const std::string& text) {
  for (const LogLevel level : {LogLevel::debug, LogLevel::info, LogLevel::warning})
    if (text == to_string(level)) return level;
  return LogLevel::error;
}

/// Rank 0 logs as asked, the others only what is wrong.
Logger make_logger(const config::Options& options, int rank) {
  const LogLevel level = parse_level(options.get<std::string>("log-level"));
  return Logger(make_stderr_sink(), rank == 0 ? level : std::max(level, LogLevel::error));
}

void print_error(const std::string& program, int rank, int size, std::string_view text) {
  const std::string where = size > 1 ? fmt::format(" (rank {})", rank) : "";
  fmt::print(stderr, "{}: error{}: {}\n", program, where, text);
  std::fflush(stderr);
}

int exit_code_of(const std::exception& error) {
  if (dynamic_cast<const CommError*>(&error)) return kExitPeerLost;
  if (dynamic_cast<const ConfigError*>(&error) || dynamic_cast<const DataError*>(&error)) return kExitUsage;
  return 1;
}

/// Ends the job. Other ranks may wait in a collective, so nothing is communicated; rank 0 speaks first,
/// because a failure that all ranks share should be printed once.
[[noreturn]] void end_job(const mpi::Environment& environment, const std::string& program,
                          const std::exception& error) {
  const int rank = environment.world().rank();
  if (rank != 0) std::this_thread::sleep_for(std::chrono::milliseconds(700));
  print_error(program, rank, environment.world().size(), error.what());
  environment.abort(exit_code_of(error));
}

int run_session(config::Options options, const mpi::Environment& environment, const Body& body) {
  const Logger logger = make_logger(options, environment.world().rank());
  const train::StopSignal signals;
  train::Session session(std::move(options), environment.world(), logger);
  device::apply(session.threads());
  device::keep_freed_memory();
  if (!session.threads().warning.empty()) logger.warning(session.threads().warning);
  int code = 0;
  try {
    body(session);
  } catch (const train::Interrupted& interrupted) {
    logger.info(fmt::format("stopped by signal {} with a checkpoint; the same command with --resume goes on",
                            interrupted.signal));
    code = train::kExitCheckpointed;
  }
  session.control().barrier();  // mpirun kills the others once the first rank has left with a code
  session.close();
  return code;
}

}  // namespace

int run(int argc, char** argv, const Program& program, const Body& body) {
  const std::string name =
      program.name.empty() ? std::filesystem::path(argv[0]).filename().string() : program.name;
  std::optional<mpi::Environment> environment;
  try {
    config::Options options(name,
                            program.summary.empty() ? name + ": a bunchtrain program" : program.summary);
    options.declare(train::standard_options());
    options.declare(program.options);
    for (const auto& [option, value] : program.defaults) options.set_default(option, value);
    environment.emplace();
    const std::string text = options.parse(argc, argv);
    if (!text.empty()) {
      if (environment->world().rank() == 0) fmt::print("{}", text);
      return 0;
    }
    return run_session(std::move(options), *environment, body);
  } catch (const std::exception& error) {
    if (environment) end_job(*environment, name, error);
    print_error(name, 0, 1, error.what());
    return exit_code_of(error);
  }
}

int run(int argc, char** argv, const Body& body) { return run(argc, argv, Program{}, body); }

}  // namespace bunchtrain::app
