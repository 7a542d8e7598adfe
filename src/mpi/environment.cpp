// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/environment.hpp"

#include <fmt/format.h>
#include <mpi.h>

#include <array>
#include <cstdlib>
#include <exception>
#include <utility>

#include "bunchtrain/core/detail/call_limit.hpp"
#include "bunchtrain/core/error.hpp"
#include "siblings.hpp"

namespace bunchtrain::mpi {
namespace {

// Both may be asked at any time; neither starts MPI.
bool is_initialized() noexcept {
  int flag = 0;
  MPI_Initialized(&flag);
  return flag != 0;
}

bool is_finalized() noexcept {
  int flag = 0;
  MPI_Finalized(&flag);
  return flag != 0;
}

std::string native_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string version = text.data();  // Open MPI counts the NUL as well
  return version.substr(0, version.find('\n'));
}

void initialize() {
  int provided = MPI_THREAD_SINGLE;
  const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  if (code != MPI_SUCCESS) throw CommError("MPI_Init_thread failed with code " + std::to_string(code));
  if (provided < MPI_THREAD_FUNNELED) {
    throw CommError("this MPI library offers no MPI_THREAD_FUNNELED, which a program with threads needs: " +
                    native_version());
  }
}

/// What to do when one of MPI's calls on all ranks takes longer than the timeout.
std::function<void()> say_late(std::string what, const Environment::Options& options) {
  if (!options.on_hang) return {};
  return [what = std::move(what), limit = options.timeout, on_hang = options.on_hang] {
    const std::string silent = stopped_siblings();
    on_hang(fmt::format(
        "{} takes longer than {:.3g} s. {}", what, static_cast<double>(limit.count()) / 1000,
        silent.empty() ? "A rank did not come; on this node none is stopped" : "Silent: " + silent));
  };
}

}  // namespace

Environment::Environment(Options options)
    : options_(std::move(options)),
      launch_(detect_launch()),
      exceptions_at_start_(std::uncaught_exceptions()),
      world_(Comm::self()) {
  if (is_finalized())
    throw CommError(
        "MPI was finalised before this Environment was made; MPI cannot be started twice in one process");
  if (launch_.by_mpi && !is_initialized()) {
    const CallLimit limit(options_.timeout, say_late("the start of MPI", options_));
    initialize();
    owns_mpi_ = true;
  }
  if (is_initialized()) world_ = Comm::duplicate_of(MPI_Comm_c2f(MPI_COMM_WORLD), options_.timeout);
  try {
    require_announced_world(launch_, world_.size(), library_version());
  } catch (const ConfigError&) {
    if (owns_mpi_) MPI_Finalize();  // a world of one: nobody to wait for
    throw;
  }
}

Environment::~Environment() {
  if (!owns_mpi_ || is_finalized()) return;
  if (std::uncaught_exceptions() > exceptions_at_start_ || world_.failed()) return;
  const CallLimit limit(options_.timeout, say_late("the end of MPI", options_));
  MPI_Finalize();
}

std::string Environment::library_version() const { return world_.has_mpi() ? native_version() : "none"; }

void Environment::abort(int exit_code) const noexcept {
  // MPI may be in the state that made the job fail.
  const CallLimit limit(std::chrono::seconds(10), [exit_code] { std::_Exit(exit_code); });
  if (is_initialized() && !is_finalized()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace bunchtrain::mpi
