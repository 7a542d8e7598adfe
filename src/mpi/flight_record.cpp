// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/detail/flight_record.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace bunchtrain::mpi {
namespace {

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::string FlightTimes::line(std::string_view operation) const {
  const auto time = std::chrono::floor<std::chrono::milliseconds>(started);
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const std::string in_phase = phase[0] == '\0' ? "" : fmt::format(", {}", phase.data());
  const std::string state =
      complete ? fmt::format("complete after {:.3f} s", seconds(took))
               : fmt::format("in flight since {:.3f} s", seconds(std::chrono::steady_clock::now() - begin));
  return fmt::format("  {:%H:%M:%S}.{:03} {}{}: {}\n",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(whole)), (time - whole).count(),
                     operation, in_phase, state);
}

}  // namespace bunchtrain::mpi
