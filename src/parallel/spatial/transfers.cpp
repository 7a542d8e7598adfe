// SPDX-License-Identifier: Apache-2.0
#include "transfers.hpp"

#include <algorithm>
#include <cstdlib>
#include <tuple>

namespace bunchtrain::parallel {
namespace {

struct Message {
  int from, to;

  /// A stream carries one message after the other, and a message needs both ends: all ranks take theirs in the order of
  /// one list. Pairs of equal distance that share no rank stand together, so that they travel at once.
  auto place() const {
    const int distance = std::abs(from - to), first = std::min(from, to);
    return std::tuple(distance, first / distance % 2, first, from > to);
  }
};

}  // namespace

Messages::Messages(Line& line, const TensorsOfRanks& sent, const TensorsOfRanks& received) {
  std::vector<Message> messages;
  const int here = line.here;
  for (int rank = 0; rank < line.size(); ++rank) {
    if (sent[static_cast<std::size_t>(rank)].defined()) messages.push_back({here, rank});
    if (received[static_cast<std::size_t>(rank)].defined()) messages.push_back({rank, here});
  }
  std::ranges::sort(messages, {}, &Message::place);
  for (const auto& [from, to] : messages) {
    const auto peer = static_cast<std::size_t>(from == here ? to : from);
    works_.push_back(from == here ? line.group.send(sent[peer], line.members[peer])
                                  : line.group.receive(received[peer], line.members[peer]));
  }
}

void Messages::wait() {
  for (comm::Work& work : works_) work.wait();
  works_.clear();
}

}  // namespace bunchtrain::parallel
