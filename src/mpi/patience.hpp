// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One wait in a collective: how long, with what sleep, and who is missing when it is too long.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm_impl.hpp"

namespace bunchtrain::mpi {

/// `pass()` is called between two looks at the request.
class Patience {
 public:
  Patience(Comm::Impl& comm, std::string_view operation);

  /// Sleeps a little, answers peers, and from time to time asks them where they are.
  /// @throws CommError if a peer gave up, or the timeout is over and the missing ranks are known.
  void pass();

 private:
  using Clock = std::chrono::steady_clock;

  /// A rank that did not answer, as far as can be seen from here.
  struct Silent {
    std::vector<int> ranks;
    bool any_lost = false;  ///< stopped or gone for certain
  };

  void skip_pause(Clock::time_point now);
  void conclude(Clock::time_point now);
  Silent find_silent() const;
  bool is_over(Clock::time_point now, const Silent& silent) const;
  void report(Clock::time_point now, const Silent& silent) const;
  std::string place() const;
  std::string answers() const;
  [[noreturn]] void give_up_unasked(Clock::time_point now) const;
  [[noreturn]] void give_up(Clock::time_point now, const Silent& silent);

  Comm::Impl& comm_;
  std::string_view operation_;
  std::chrono::milliseconds timeout_;
  Clock::time_point began_ = Clock::now();
  Clock::time_point last_ = began_;
  Clock::time_point served_ = began_;
  std::chrono::milliseconds next_look_;  ///< after `began_`
  std::optional<Clock::time_point> asked_;
};

}  // namespace bunchtrain::mpi
