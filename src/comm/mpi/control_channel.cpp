// SPDX-License-Identifier: Apache-2.0
#include "control_channel.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "abandon.hpp"
#include "bunchtrain/core/error.hpp"
#include "handles.hpp"

namespace bunchtrain::comm::detail {
namespace {

static_assert(std::is_trivially_copyable_v<Call>, "calls travel as bytes");

constexpr int kNoticeTag = 0;
constexpr std::size_t kReasonBytes = 600;
constexpr std::size_t kNameBytes = 40;

enum class NoticeKind : std::int32_t { question, answer, failed };

/// What ranks tell each other point to point. Small enough for every MPI to send eagerly.
struct Notice {
  NoticeKind kind = NoticeKind::answer;
  std::int32_t channel = 0;  ///< whom it is for; a failure concerns all
  Call call;
  std::array<char, kNameBytes> communicator{};  ///< of the call
  std::array<char, kReasonBytes> reason{};
};

template <std::size_t N>
void put(std::array<char, N>& field, std::string_view text) noexcept {
  text.copy(field.data(), N - 1);
}

/// A message on its way; MPI reads it until the request is complete.
struct Outgoing {
  Notice notice;
  MPI_Request request = MPI_REQUEST_NULL;
};

bool test(MPI_Request& request, std::string_view what) {
  int done = 0;
  mpi::check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), what);
  return done != 0;
}

class Barrier : public InFlight {
 public:
  explicit Barrier(MPI_Comm comm) { mpi::check(MPI_Ibarrier(comm, &request_), "barrier"); }
  bool poll() override { return test(request_, "barrier"); }

 private:
  MPI_Request request_ = MPI_REQUEST_NULL;
};

class Exchange : public CallExchange {
 public:
  Exchange(MPI_Comm comm, int size, const Call& mine) : mine_(mine), calls_(static_cast<std::size_t>(size)) {
    mpi::check(MPI_Iallgather(&mine_, sizeof(Call), MPI_BYTE, calls_.data(), sizeof(Call), MPI_BYTE, comm,
                              &request_),
               "comparison of calls");
  }
  bool poll() override { return test(request_, "comparison of calls"); }
  const std::vector<Call>& calls() const override { return calls_; }

 private:
  Call mine_;
  std::vector<Call> calls_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

class Announcement : public CallExchange {
 public:
  Announcement(MPI_Comm comm, int peer, int tag) {
    mpi::check(MPI_Irecv(&notice_, sizeof(Notice), MPI_BYTE, peer, tag, comm, &request_),
               "announcement of a send");
  }
  bool poll() override {
    if (!test(request_, "announcement of a send")) return false;
    calls_.assign(1, notice_.call);
    return true;
  }
  const std::vector<Call>& calls() const override { return calls_; }

 private:
  Notice notice_;
  std::vector<Call> calls_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

}  // namespace

/// What the communicator and its parts have in common: the messages of all of them, and who failed.
struct ControlChannel::Wire {
  explicit Wire(const mpi::Comm& whole)
      : comm(duplicate_native(whole)), rank(whole.rank()), size(whole.size()) {}

  void send(const Notice& notice, int peer, int tag, MPI_Comm over) {
    Outgoing& message = outgoing.emplace_back(Outgoing{.notice = notice});
    mpi::check(MPI_Isend(&message.notice, sizeof(Notice), MPI_BYTE, peer, tag, over, &message.request),
               "notice to a peer");
  }

  void forget_sent() {
    std::erase_if(outgoing, [](Outgoing& message) { return test(message.request, "notice to a peer"); });
  }

  /// The next notice that is here already.
  std::optional<std::pair<Notice, int>> take() const {
    int found = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    mpi::check(MPI_Improbe(MPI_ANY_SOURCE, kNoticeTag, comm, &found, &message, &status), "notices of peers");
    if (found == 0) return std::nullopt;
    Notice notice;
    mpi::check(MPI_Mrecv(&notice, sizeof(Notice), MPI_BYTE, &message, MPI_STATUS_IGNORE), "notices of peers");
    return std::pair(notice, status.MPI_SOURCE);
  }

  /// Collective over `part`: a number that no two channels with a common rank share.
  int next_channel(const mpi::Comm& part) {
    return last_channel = static_cast<int>(part.all_max(last_channel + 1));
  }

  /// Collective once nobody needs it any more.
  void leave(int channel) {
    channels.erase(channel);
    if (channels.empty()) mpi::check(MPI_Comm_free(&comm), "MPI_Comm_free");
  }

  MPI_Comm comm;
  int rank;
  int size;
  int last_channel = 0;
  std::map<int, Impl*> channels = {};
  std::optional<Failure> failure = {};
  std::list<Outgoing> outgoing = {};
};

struct ControlChannel::Impl {
  Impl(std::shared_ptr<Wire> shared, const mpi::Comm& control, std::string communicator)
      : wire(std::move(shared)),
        comm(MPI_Comm_f2c(control.fortran_handle())),
        name(std::move(communicator)),
        rank(control.rank()),
        number(wire->next_channel(control)),
        peers(static_cast<std::size_t>(control.size())) {
    for (const std::string& line : control.all_gather(std::to_string(wire->rank)))
      wire_ranks.push_back(std::stoi(line));
    wire->channels.emplace(number, this);
  }
  ~Impl() { wire->channels.erase(number); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Notice notice(NoticeKind kind, const Call& mine) const {
    Notice made{.kind = kind, .channel = number, .call = mine};
    put(made.communicator, name);
    return made;
  }

  void ask(const Call& mine) {
    for (PeerState& peer : peers) peer.heard = peer.gave_up;
    for (std::size_t peer = 0; peer < peers.size(); ++peer) {
      if (static_cast<int>(peer) != rank)
        wire->send(notice(NoticeKind::question, mine), wire_ranks[peer], kNoticeTag, wire->comm);
    }
  }

  /// What a peer of this channel says.
  void hear(const Notice& said, int from) {
    const auto peer = std::ranges::find(wire_ranks, from) - wire_ranks.begin();
    PeerState& state = peers[static_cast<std::size_t>(peer)];
    state.heard = true;
    state.call = said.call;
    state.communicator = name == said.communicator.data() ? "" : said.communicator.data();
    if (said.kind != NoticeKind::answer) state.gave_up = true;
  }

  /// Hears for all channels of the wire; this rank is in `mine` of this one.
  void serve(const Call& mine) {
    wire->forget_sent();
    while (const auto taken = wire->take()) {
      const auto& [said, from] = *taken;
      const bool failed = said.kind == NoticeKind::failed;
      if (failed && !wire->failure) wire->failure = Failure{.rank = from, .reason = said.reason.data()};
      // Who has failed answers nobody any more: all channels that it is in hear of it.
      for (const auto& [channel, addressee] : wire->channels)
        if ((failed || channel == said.channel) && addressee->knows(from)) addressee->hear(said, from);
      if (said.kind != NoticeKind::question) continue;
      Notice answer = notice(NoticeKind::answer, mine);
      answer.channel = said.channel;
      wire->send(answer, from, kNoticeTag, wire->comm);
    }
  }

  bool knows(int wire_rank) const { return std::ranges::find(wire_ranks, wire_rank) != wire_ranks.end(); }

  bool heard_all() const {
    for (std::size_t peer = 0; peer < peers.size(); ++peer) {
      if (static_cast<int>(peer) != rank && !peers[peer].heard) return false;
    }
    return true;
  }

  std::shared_ptr<Wire> wire;
  MPI_Comm comm;  ///< the communicator's own: what all its ranks do together
  std::string name;
  int rank;
  int number;  ///< the same on all its ranks
  std::vector<int> wire_ranks = {};
  std::vector<PeerState> peers;
};

ControlChannel::ControlChannel(const mpi::Comm& comm, std::string name) {
  if (comm.size() > 1) impl_ = std::make_unique<Impl>(std::make_shared<Wire>(comm), comm, std::move(name));
}

ControlChannel::ControlChannel(const ControlChannel& whole, const mpi::Comm& part, std::string name) {
  if (part.size() > 1) impl_ = std::make_unique<Impl>(whole.impl_->wire, part, std::move(name));
}

ControlChannel::~ControlChannel() {
  if (impl_ && !impl_->wire->outgoing.empty()) abandon(impl_->wire);
}

std::unique_ptr<CallExchange> ControlChannel::start_exchange(const Call& mine) {
  return impl_ ? std::make_unique<Exchange>(impl_->comm, static_cast<int>(impl_->peers.size()), mine)
               : nullptr;
}

std::unique_ptr<InFlight> ControlChannel::start_barrier() {
  return impl_ ? std::make_unique<Barrier>(impl_->comm) : nullptr;
}

void ControlChannel::announce_send(const Call& mine, int peer) {
  if (impl_) impl_->wire->send(impl_->notice(NoticeKind::answer, mine), peer, mine.tag, impl_->comm);
}

std::unique_ptr<CallExchange> ControlChannel::start_hear_send(int peer, int tag) {
  return impl_ ? std::make_unique<Announcement>(impl_->comm, peer, tag) : nullptr;
}

void ControlChannel::serve(const Call& mine) {
  if (impl_) impl_->serve(mine);
}

const std::optional<Failure>& ControlChannel::failure() const {
  static const std::optional<Failure> none;
  return impl_ ? impl_->wire->failure : none;
}

std::vector<int> ControlChannel::ranks_that_gave_up() const {
  std::vector<int> ranks;
  for (std::size_t rank = 0; rank < peers().size(); ++rank) {
    if (peers()[rank].gave_up) ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

const std::vector<PeerState>& ControlChannel::peers() const {
  static const std::vector<PeerState> nobody;
  return impl_ ? impl_->peers : nobody;
}

const std::vector<PeerState>& ControlChannel::ask_all(const Call& mine, std::chrono::milliseconds window) {
  if (!impl_) return peers();
  impl_->ask(mine);
  const auto end = std::chrono::steady_clock::now() + window;
  do {
    impl_->serve(mine);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } while (!impl_->heard_all() && std::chrono::steady_clock::now() < end);
  return impl_->peers;
}

void ControlChannel::tell_failed(const Call& mine, std::string_view reason) noexcept {
  if (!impl_ || !mpi::may_call_mpi()) return;
  try {
    Wire& wire = *impl_->wire;
    if (!wire.failure) wire.failure = Failure{.rank = wire.rank, .reason = std::string(reason)};
    Notice notice = impl_->notice(NoticeKind::failed, mine);
    put(notice.reason, reason);
    for (int peer = 0; peer < wire.size; ++peer) {
      if (peer != wire.rank) wire.send(notice, peer, kNoticeTag, wire.comm);
    }
  } catch (const std::exception&) {
    // The peers find out by their timeouts.
  }
}

void ControlChannel::close() {
  if (impl_) impl_->wire->leave(impl_->number);
}

}  // namespace bunchtrain::comm::detail
