// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/app/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <thread>

#include "bunchtrain/app/console.hpp"
#include "bunchtrain/app/flag_wording.hpp"
#include "bunchtrain/app/session_options.hpp"
#include "bunchtrain/app/standard_options.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "stop_watcher.hpp"

namespace bunchtrain::app {
namespace {

/// Rank 0 logs as asked, the others only what is wrong.
Logger make_logger(const config::Options& options, int rank) {
  LogLevel level = parse_log_level(options.get<std::string>("log-level"));
  if (options.print_config()) level = std::max(level, LogLevel::warning);
  return Logger(make_stderr_sink(), rank == 0 ? level : std::max(level, LogLevel::error));
}

void print_error(const std::string& program, int rank, int size, std::string_view text) {
  const std::string where = size > 1 ? fmt::format(" (rank {})", rank) : "";
  fmt::print(stderr, "{}: error{}: {}\n", program, where, text);
  std::fflush(stderr);
}

/// The disk may be what failed: it must not keep the job from its end.
void release_locks_for_a_second() {
  const auto done = std::make_shared<std::promise<void>>();
  std::thread([done] {
    train::RunFolder::release_locks();
    done->set_value();
  }).detach();
  done->get_future().wait_for(std::chrono::seconds(1));
}

/// Ends the job. Other ranks may wait in a collective, so nothing is communicated but who tells the user: a
/// failure that several ranks see should be printed once.
[[noreturn]] void end_job(const mpi::Environment& environment, const std::string& program,
                          const std::exception& error) {
  using std::chrono::milliseconds;
  mpi::Comm world = environment.world();
  const milliseconds patience =
      world.rank() == 0 ? milliseconds(0) : milliseconds(700 + 100 * std::min(world.rank(), 8));
  if (world.speaks_for_job(patience)) {
    print_error(program, world.rank(), world.size(), describe_error(error));
  } else {
    std::this_thread::sleep_for(
        std::chrono::seconds(3));  // the rank that told it ends the job, with its code
  }
  release_locks_for_a_second();
  environment.abort(exit_code_of(error));
}

/// Runs the program's own code. With --print-config that ends where its set-up is complete; if it fails
/// before, the options are shown as they were given.
void run_body(train::Session& session, const Body& body) {
  const bool print_config = session.options().print_config();
  try {
    body(session);
    session.warn_of_unused_options();
    if (print_config) session.set_up_complete();
  } catch (const train::EffectiveConfiguration& effective) {
    if (session.is_root()) fmt::print("{}", effective.toml);
  } catch (const Error& error) {
    if (!print_config) throw;
    if (session.is_root())
      fmt::print(
          "# As given: what the program itself decides is not known, because it ended before it trained.\n# "
          "{}\n{}",
          error.message().substr(0, error.message().find('\n')), session.options().to_toml());
  }
}

/// MPI itself hangs: nobody can be asked, so the ranks speak one after the other, and the first
/// one's end is everybody's.
[[noreturn]] void end_hanging_job(const std::string& program, const std::string& reason) {
  const mpi::Launch launch = mpi::detect_launch();
  std::this_thread::sleep_for(std::chrono::milliseconds(500 * std::min(launch.announced_rank, 8)));
  print_error(program, launch.announced_rank, launch.announced_tasks, reason);
  release_locks_for_a_second();
  std::_Exit(kExitRetry);
}

train::Session start_session(const config::Options& options, const mpi::Environment& environment,
                             const std::vector<comm::Axis>& axes) {
  const auto phase = environment.world().in_phase("starting the job");
  return open_session(options, environment.world(), make_logger(options, environment.world().rank()), axes);
}

/// What a library leaves to its host: this is one.
void furnish(train::Session& session) {
  device::apply(session.threads());
  device::keep_freed_memory();
  device::prefer_fast_convolutions(session.device());
  session.add_observer(make_console());
  if (!session.threads().warning.empty()) session.logger().warning(session.threads().warning);
}

/// Collective. What the body's end by a signal means for all ranks.
int end_interrupted(const train::Session& session, const train::Interrupted& interrupted) {
  // Ctrl-C on one rank is Ctrl-C for all.
  const bool by_user = session.control().all_max(interrupted.signal == SIGINT ? 1 : 0) > 0;
  const int signal = static_cast<int>(session.control().all_max(interrupted.signal));
  session.logger().info(fmt::format("stopped by {}; the same command with --resume goes on",
                                    signal == 0 ? "the program" : signal_name(by_user ? SIGINT : signal)));
  if (signal == 0) return 0;  // a program that wants to stop is no reason to run it again
  return exit_code_after(by_user ? SIGINT : signal);
}

int run_session(const config::Options& options, const mpi::Environment& environment, const Program& program,
                std::optional<StopWatcher>& watcher, const Body& body) {
  train::Session session = start_session(options, environment, program.axes);
  furnish(session);
  int code = 0;
  try {
    const auto phase = session.control().in_phase("outside the training loop");
    run_body(session, body);
    watcher.reset();  // all is done
  } catch (const train::Interrupted& interrupted) {
    watcher.reset();  // what there is to save is saved, and the code is known
    const auto phase = session.control().in_phase("ending the job");
    code = end_interrupted(session, interrupted);
  }
  const auto phase = session.control().in_phase("ending the job");
  session.control().barrier();  // mpirun kills the others once the first rank has left with a code
  session.close();
  return code;
}

/// The options of a command line. What is wrong with them is told later, by one rank.
struct ParsedOptions {
  std::string text;  ///< of --help or --version: print it and end
  std::chrono::milliseconds timeout = mpi::kDefaultTimeout;
  std::exception_ptr fault;
};

ParsedOptions parse(config::Options& options, int argc, char** argv) {
  ParsedOptions parsed;
  try {
    parsed.text = options.parse(argc, argv);
    if (parsed.text.empty() || options.print_config()) parsed.timeout = timeout_of(options);
  } catch (const ConfigError&) {
    parsed.fault = std::current_exception();
  }
  return parsed;
}

config::Options declare_options(const std::string& name, const Program& program) {
  config::Options options(name, program.summary.empty() ? name + ": a bunchtrain program" : program.summary);
  std::vector<config::OptionSpec> own = program.options, specs = standard_options();
  for (config::OptionSpec& spec : specs) {
    const auto found = std::ranges::find(own, spec.name, &config::OptionSpec::name);
    if (found != own.end()) {
      spec = *found;
      spec.standard = true;
      own.erase(found);
    }
    options.declare(std::move(spec));
  }
  options.declare(std::move(own));
  for (const auto& [option, value] : program.defaults) options.set_default(option, value);
  options.hide(program.without);
  return options;
}

}  // namespace

std::vector<std::string> standard_options_but(std::initializer_list<std::string_view> kept) {
  std::vector<std::string> names;
  for (const auto& spec : standard_options())
    if (std::ranges::find(kept, spec.name) == kept.end()) names.push_back(spec.name);
  return names;
}

int run(int argc, char** argv, const Program& program, const Body& body) {
  speak_of_flags();
  const train::StopSignal signals;  // before anything that takes time
  const std::string name =
      program.name.empty() ? std::filesystem::path(argv[0]).filename().string() : program.name;
  std::optional<StopWatcher> watcher;
  watcher.emplace([name](const std::string& text) {
    if (mpi::detect_launch().announced_rank == 0) fmt::print(stderr, "{}: {}\n", name, text);
  });
  std::optional<mpi::Environment> environment;
  try {
    config::Options options = declare_options(name, program);
    const ParsedOptions parsed = parse(options, argc, argv);
    environment.emplace(mpi::Environment::Options{
        .timeout = parsed.timeout,
        .on_hang = [name](const std::string& reason) { end_hanging_job(name, reason); }});
    if (parsed.fault) std::rethrow_exception(parsed.fault);
    if (!parsed.text.empty() && !options.print_config()) {
      if (environment->world().rank() == 0) fmt::print("{}", parsed.text);
      return 0;
    }
    mpi::Comm world = environment->world();
    world.on_slow_peer([name](const std::string& text) { fmt::print(stderr, "{}: {}\n", name, text); });
    return run_session(options, *environment, program, watcher, body);
  } catch (const std::exception& error) {
    watcher.reset();
    if (environment) end_job(*environment, name, error);
    const mpi::Launch launch = mpi::detect_launch();
    print_error(name, launch.announced_rank, launch.announced_tasks, describe_error(error));
    return exit_code_of(error);
  }
}

int run(int argc, char** argv, const Body& body) { return run(argc, argv, Program{}, body); }

}  // namespace bunchtrain::app
