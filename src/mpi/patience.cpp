// SPDX-License-Identifier: Apache-2.0
#include "patience.hpp"

#include <algorithm>
#include <map>
#include <thread>

#include "bunchtrain/mpi/detail/rank_ranges.hpp"
#include "siblings.hpp"

namespace bunchtrain::mpi {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kServeEvery{20};
constexpr milliseconds kAnswerWindow{2000};
constexpr milliseconds kFirstLook{30'000};
constexpr milliseconds kUnattended{250};  // a longer gap between two looks: this process did not run
constexpr int kDiskTimeouts = 4;          // for ranks that may be waiting for a disk

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

Patience::Patience(Comm::Impl& comm, std::string_view operation)
    : comm_(comm),
      operation_(operation),
      timeout_(comm.job->timeout.load()),
      next_look_(std::min(kFirstLook, timeout_)) {}

void Patience::pass() {
  const auto now = Clock::now();
  skip_pause(now);
  if (comm_.notices && now - served_ >= kServeEvery) {
    served_ = now;
    comm_.notices->serve(operation_, comm_.job->phases->text());
    if (const auto& failure = comm_.notices->failure())
      throw CommError(fmt::format("{}: another rank gave up: {}", comm_.at(operation_), *failure));
  }
  if (!comm_.notices) {
    if (now - began_ > timeout_) give_up_unasked(now);
  } else if (asked_) {
    if (comm_.notices->all_answered() || now - *asked_ > kAnswerWindow) conclude(now);
  } else if (now - began_ > next_look_) {
    asked_ = now;
    comm_.notices->ask_all();
  }
  if (now - began_ < milliseconds(10)) return std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::microseconds(now - began_ < milliseconds(100) ? 50 : 200));
}

void Patience::skip_pause(Clock::time_point now) {
  const auto gap = now - last_;
  last_ = now;
  if (gap <= kUnattended) return;
  began_ += gap;
  served_ += gap;
  if (asked_) *asked_ += gap;
}

void Patience::conclude(Clock::time_point now) {
  const Silent silent = find_silent();
  if (is_over(now, silent)) give_up(now, silent);
  report(now, silent);
  asked_.reset();
  const auto waited = std::chrono::duration_cast<milliseconds>(now - began_);
  next_look_ = waited < timeout_ ? std::min(2 * waited, timeout_) : waited + timeout_;
}

Patience::Silent Patience::find_silent() const {
  Silent silent;
  for (int rank = 0; rank < comm_.size; ++rank) {
    if (rank == comm_.rank || comm_.notices->answers()[static_cast<std::size_t>(rank)].heard) continue;
    silent.ranks.push_back(rank);
    const auto state = state_of(comm_.neighbours.processes[static_cast<std::size_t>(rank)]);
    silent.any_lost = silent.any_lost || state == ProcessState::gone || state == ProcessState::stopped;
  }
  return silent;
}

bool Patience::is_over(Clock::time_point now, const Silent& silent) const {
  if (*asked_ - began_ < timeout_) return false;
  const bool disk = comm_.job->phases->waits_for_disk() && !silent.ranks.empty() && !silent.any_lost;
  return !disk || now - began_ > kDiskTimeouts * timeout_;
}

/// Of the ranks that wait, the lowest speaks.
void Patience::report(Clock::time_point now, const Silent& silent) const {
  if (!comm_.job->on_slow_peer || silent.ranks.empty()) return;
  const auto& answers = comm_.notices->answers();
  for (int rank = 0; rank < comm_.rank; ++rank)
    if (answers[static_cast<std::size_t>(rank)].heard) return;
  comm_.job->on_slow_peer(fmt::format("{}: waiting for {} since {:.0f} s", place(),
                                      comm_.describe_ranks(silent.ranks), seconds(now - began_)));
}

/// "barrier on rank 0 of 2 (while writing snapshot 40)".
std::string Patience::place() const {
  const std::string phase = comm_.job->phases->text();
  return comm_.at(operation_) + (phase.empty() ? "" : fmt::format(" (while {})", phase));
}

std::string Patience::answers() const {
  std::map<std::string, std::vector<int>> ranks_by_place;
  for (int rank = 0; rank < comm_.size; ++rank) {
    const PeerAnswer& peer = comm_.notices->answers()[static_cast<std::size_t>(rank)];
    if (!peer.heard) continue;
    const bool same = peer.operation == operation_;
    const std::string where = peer.phase.empty() ? "" : fmt::format(" (while {})", peer.phase);
    ranks_by_place[(same ? "waits in the same " : "is in another operation: ") + peer.operation + where]
        .push_back(rank);
  }
  std::string text;
  for (const auto& [where, ranks] : ranks_by_place)
    text += fmt::format("\n  {}: {}", rank_ranges(ranks), where);
  return text;
}

/// On a communicator that is not ours to send messages on.
void Patience::give_up_unasked(Clock::time_point now) const {
  const std::string silent = stopped_siblings();
  throw CommError(fmt::format(
      "{}: no answer within {:.3g} s. {}", place(), seconds(now - began_),
      silent.empty() ? "A rank did not come; on this node none is stopped" : "Silent: " + silent));
}

void Patience::give_up(Clock::time_point now, const Silent& silent) {
  const std::string conclusion =
      silent.ranks.empty()
          ? std::string("No rank is silent: they left the common order, or the network is slower than that")
          : fmt::format("Silent: {}", comm_.describe_ranks(silent.ranks));
  const std::string message = fmt::format("{}: no answer within {:.3g} s. {}{}", place(),
                                          seconds(now - began_), conclusion, answers());
  comm_.notices->tell_failed(message);
  throw CommError(message);
}

}  // namespace bunchtrain::mpi
