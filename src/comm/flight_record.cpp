// SPDX-License-Identifier: Apache-2.0
#include "flight_record.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

namespace bunchtrain::comm::detail {
namespace {

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::uint64_t FlightRecord::start(const Call& call, std::string_view phase) noexcept {
  Entry& entry = entries_[started_ % kCapacity];
  entry = {
      .call = call, .started = std::chrono::system_clock::now(), .begin = std::chrono::steady_clock::now()};
  phase.copy(entry.phase.data(), entry.phase.size() - 1);
  return started_++;
}

void FlightRecord::complete(std::uint64_t ticket) noexcept {
  if (ticket + kCapacity < started_) return;
  Entry& entry = entries_[ticket % kCapacity];
  entry.complete = true;
  entry.took = std::chrono::steady_clock::now() - entry.begin;
}

const Call& FlightRecord::last() const noexcept {
  return entries_[(started_ + kCapacity - 1) % kCapacity].call;
}

std::string FlightRecord::tail(std::size_t count) const {
  const std::uint64_t kept = std::min<std::uint64_t>({count, kCapacity, started_});
  const auto now = std::chrono::steady_clock::now();
  std::string text;
  for (std::uint64_t ticket = started_ - kept; ticket < started_; ++ticket) {
    const Entry& entry = entries_[ticket % kCapacity];
    const auto time = std::chrono::floor<std::chrono::milliseconds>(entry.started);
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    text += fmt::format("  {:%H:%M:%S}.{:03} {}", fmt::gmtime(std::chrono::system_clock::to_time_t(whole)),
                        (time - whole).count(), describe(entry.call));
    if (entry.phase[0] != '\0') text += fmt::format(", {}", entry.phase.data());
    text += entry.complete ? fmt::format(": complete after {:.3f} s\n", seconds(entry.took))
                           : fmt::format(": in flight since {:.3f} s\n", seconds(now - entry.begin));
  }
  return text;
}

}  // namespace bunchtrain::comm::detail
