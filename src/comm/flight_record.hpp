// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The last operations of a communicator, for messages.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "call.hpp"

namespace bunchtrain::comm::detail {

/// A ring of the last `kCapacity` operations. Bounded, never allocates while recording. Not thread-safe.
class FlightRecord {
 public:
  static constexpr std::size_t kCapacity = 32;

  /// Returns a ticket for `complete`. `phase` is what the job is doing; long texts are cut.
  std::uint64_t start(const Call& call, std::string_view phase = {}) noexcept;
  void complete(std::uint64_t ticket) noexcept;
  /// The operation started last.
  const Call& last() const noexcept;
  std::uint64_t last_ticket() const noexcept { return started_ - 1; }
  /// One line per operation, the latest last:
  /// "  22:15:03.123 all_reduce(sum) of 10 float32 (#3), training: complete after 0.012 s" (UTC).
  std::string tail(std::size_t count) const;

 private:
  struct Entry {
    Call call;
    bool complete = false;
    std::chrono::system_clock::time_point started{};
    std::chrono::steady_clock::time_point begin{};
    std::chrono::steady_clock::duration took{};
    std::array<char, 64> phase{};
  };
  std::array<Entry, kCapacity> entries_{};
  std::uint64_t started_ = 0;
};

}  // namespace bunchtrain::comm::detail
