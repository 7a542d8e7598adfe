// SPDX-License-Identifier: Apache-2.0
#include "flight_record.hpp"

#include <algorithm>

namespace bunchtrain::comm::detail {

std::uint64_t FlightRecord::start(const Call& call) noexcept {
  entries_[started_ % kCapacity] = {.call = call, .complete = false};
  return started_++;
}

void FlightRecord::complete(std::uint64_t ticket) noexcept {
  if (ticket + kCapacity >= started_) entries_[ticket % kCapacity].complete = true;
}

const Call& FlightRecord::last() const noexcept {
  return entries_[(started_ + kCapacity - 1) % kCapacity].call;
}

std::string FlightRecord::tail(std::size_t count) const {
  const std::uint64_t kept = std::min<std::uint64_t>({count, kCapacity, started_});
  std::string text;
  for (std::uint64_t ticket = started_ - kept; ticket < started_; ++ticket) {
    const Entry& entry = entries_[ticket % kCapacity];
    text += "  " + describe(entry.call) + (entry.complete ? ": complete\n" : ": in flight\n");
  }
  return text;
}

}  // namespace bunchtrain::comm::detail
