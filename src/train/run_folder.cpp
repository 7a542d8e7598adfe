// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/run_folder.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

std::string default_path(const std::string& program) {
  return fmt::format("runs/{}-{:%Y%m%d-%H%M%S}", program, std::chrono::system_clock::now());
}

/// Makes the folder and proves that files can be written there.
void make_writable(const std::filesystem::path& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed)
    throw ConfigError(fmt::format("the run folder {} cannot be made: {}; name another with --run",
                                  path.string(), failed.message()));
  const auto probe = path / ".writable";
  try {
    write_file_atomically(probe, "");
  } catch (const Error& error) {
    throw ConfigError(fmt::format("the run folder {} cannot be written: {}; name another with --run",
                                  path.string(), error.message()));
  }
  std::filesystem::remove(probe, failed);
}

}  // namespace

bool RunFolder::holds_run() const {
  return std::filesystem::exists(description()) || std::filesystem::exists(metrics());
}

RunFolder RunFolder::open(const mpi::Comm& control, const Request& request) {
  std::string error;
  std::string path = request.path.empty() ? default_path(request.program) : request.path;
  path = control.broadcast(path);
  const RunFolder folder(path);
  if (control.rank() == 0) try {
      if (folder.holds_run() && !request.resume)
        throw ConfigError(
            fmt::format("the run folder {} holds a run already: go on with it by --resume, name another by "
                        "--run, or remove it",
                        path));
      make_writable(path);
    } catch (const ConfigError& failure) {
      error = failure.message();
    }
  error = control.broadcast(error);
  if (!error.empty()) throw ConfigError(error);
  return folder;
}

RunFolder RunFolder::existing(const std::filesystem::path& path) {
  RunFolder folder(path);
  if (!folder.holds_run())
    throw ConfigError(fmt::format(
        "{} holds no run (neither run.json nor metrics.jsonl): give the folder that a trainer's --run named",
        path.string()));
  return folder;
}

}  // namespace bunchtrain::train
