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

Messages::Messages(comm::Communicator& ranks, const TensorsOfRanks& sent, const TensorsOfRanks& received) {
  std::vector<Message> messages;
  const int here = ranks.rank();
  for (int rank = 0; rank < ranks.size(); ++rank) {
    if (sent[static_cast<std::size_t>(rank)].defined()) messages.push_back({here, rank});
    if (received[static_cast<std::size_t>(rank)].defined()) messages.push_back({rank, here});
  }
  std::ranges::sort(messages, {}, &Message::place);
  for (const auto& [from, to] : messages)
    works_.push_back(from == here ? ranks.send(sent[static_cast<std::size_t>(to)], to)
                                  : ranks.receive(received[static_cast<std::size_t>(from)], from));
}

void Messages::wait() {
  for (comm::Work& work : works_) work.wait();
  works_.clear();
}

}  // namespace bunchtrain::parallel
