// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The last operations of a rank, for messages.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bunchtrain::mpi {

/// When an operation began, in which phase of the job, and whether it has ended.
struct FlightTimes {
  bool complete = false;
  std::chrono::system_clock::time_point started{};
  std::chrono::steady_clock::time_point begin{};
  std::chrono::steady_clock::duration took{};
  std::array<char, 64> phase{};

  /// "  22:15:03.123 all_reduce(sum) of 10 float32 (#3), training: complete after 0.012 s\n" (UTC).
  std::string line(std::string_view operation) const;
};

/// A ring of the last `kCapacity` operations, each named by a `describe(operation)` that its argument's
/// namespace has. Bounded, never allocates while recording. Not thread-safe.
template <class Operation>
class FlightRecord {
 public:
  static constexpr std::size_t kCapacity = 32;

  /// Returns a ticket for `complete`. `phase` is what the job is doing; long texts are cut.
  std::uint64_t start(const Operation& operation, std::string_view phase = {}) noexcept {
    Entry& entry = entries_[started_ % kCapacity];
    entry = {
        .operation = operation,
        .times = {.started = std::chrono::system_clock::now(), .begin = std::chrono::steady_clock::now()}};
    phase.copy(entry.times.phase.data(), entry.times.phase.size() - 1);
    return started_++;
  }
  void complete(std::uint64_t ticket) noexcept {
    if (ticket + kCapacity < started_) return;
    FlightTimes& times = entries_[ticket % kCapacity].times;
    times.complete = true;
    times.took = std::chrono::steady_clock::now() - times.begin;
  }
  /// The operation started last.
  const Operation& last() const noexcept {
    return entries_[(started_ + kCapacity - 1) % kCapacity].operation;
  }
  std::uint64_t last_ticket() const noexcept { return started_ - 1; }
  /// One line per operation, the latest last.
  std::string tail(std::size_t count = kCapacity) const {
    const std::uint64_t kept = std::min<std::uint64_t>({count, kCapacity, started_});
    std::string text;
    for (std::uint64_t ticket = started_ - kept; ticket < started_; ++ticket) {
      const Entry& entry = entries_[ticket % kCapacity];
      text += entry.times.line(describe(entry.operation));
    }
    return text;
  }

 private:
  struct Entry {
    Operation operation;
    FlightTimes times;
  };
  std::array<Entry, kCapacity> entries_{};
  std::uint64_t started_ = 0;
};

}  // namespace bunchtrain::mpi
