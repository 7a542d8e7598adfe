// SPDX-License-Identifier: Apache-2.0
#include "control_channel.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <list>
#include <thread>
#include <type_traits>

#include "abandon.hpp"
#include "bunchtrain/core/error.hpp"
#include "handles.hpp"

namespace bunchtrain::comm::detail {
namespace {

static_assert(std::is_trivially_copyable_v<Call>, "calls travel as bytes");

constexpr int kNoticeTag = 0;
constexpr int kFirstSendTag = 1;  // announcements of sends: this plus the user's tag
constexpr std::size_t kReasonBytes = 600;

enum class NoticeKind : std::int32_t { question, answer, failed };

/// What ranks tell each other point to point. Small enough for every MPI to send eagerly.
struct Notice {
  NoticeKind kind = NoticeKind::answer;
  Call call;
  std::array<char, kReasonBytes> reason{};
};

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
    mpi::check(MPI_Irecv(&notice_, sizeof(Notice), MPI_BYTE, peer, kFirstSendTag + tag, comm, &request_),
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

struct ControlChannel::Impl {
  explicit Impl(const mpi::Comm& control)
      : comm(duplicate_native(control)),
        rank(control.rank()),
        size(control.size()),
        peers(static_cast<std::size_t>(size)) {}

  void send(const Notice& notice, int peer, int tag) {
    Outgoing& message = outgoing.emplace_back(Outgoing{.notice = notice});
    mpi::check(MPI_Isend(&message.notice, sizeof(Notice), MPI_BYTE, peer, tag, comm, &message.request),
               "notice to a peer");
  }

  void send_to_all(const Notice& notice) {
    for (int peer = 0; peer < size; ++peer) {
      if (peer != rank) send(notice, peer, kNoticeTag);
    }
  }

  void hear(const Notice& notice, int from, const Call& mine) {
    PeerState& peer = peers[static_cast<std::size_t>(from)];
    peer.heard = true;
    peer.call = notice.call;
    if (notice.kind == NoticeKind::answer) return;
    peer.gave_up = true;
    if (notice.kind == NoticeKind::failed) peer.reason = notice.reason.data();
    if (notice.kind == NoticeKind::question)
      send({.kind = NoticeKind::answer, .call = mine, .reason = {}}, from, kNoticeTag);
  }

  void serve(const Call& mine) {
    std::erase_if(outgoing, [](Outgoing& message) { return test(message.request, "notice to a peer"); });
    for (;;) {
      int found = 0;
      MPI_Message message = MPI_MESSAGE_NULL;
      MPI_Status status;
      mpi::check(MPI_Improbe(MPI_ANY_SOURCE, kNoticeTag, comm, &found, &message, &status),
                 "notices of peers");
      if (found == 0) return;
      Notice notice;  // it is here already: the receive below does not wait
      mpi::check(MPI_Mrecv(&notice, sizeof(Notice), MPI_BYTE, &message, MPI_STATUS_IGNORE),
                 "notices of peers");
      hear(notice, status.MPI_SOURCE, mine);
    }
  }

  bool heard_all() const {
    for (int peer = 0; peer < size; ++peer) {
      if (peer != rank && !peers[static_cast<std::size_t>(peer)].heard) return false;
    }
    return true;
  }

  MPI_Comm comm;  // freed by close() only: that is collective
  int rank;
  int size;
  std::vector<PeerState> peers;
  std::list<Outgoing> outgoing;
};

ControlChannel::ControlChannel(const mpi::Comm& comm) {
  if (comm.size() > 1) impl_ = std::make_unique<Impl>(comm);
}

ControlChannel::~ControlChannel() {
  if (impl_ && !impl_->outgoing.empty()) abandon(std::move(impl_));
}

std::unique_ptr<CallExchange> ControlChannel::start_exchange(const Call& mine) {
  return impl_ ? std::make_unique<Exchange>(impl_->comm, impl_->size, mine) : nullptr;
}

std::unique_ptr<InFlight> ControlChannel::start_barrier() {
  return impl_ ? std::make_unique<Barrier>(impl_->comm) : nullptr;
}

void ControlChannel::announce_send(const Call& mine, int peer) {
  if (impl_)
    impl_->send({.kind = NoticeKind::answer, .call = mine, .reason = {}}, peer, kFirstSendTag + mine.tag);
}

std::unique_ptr<CallExchange> ControlChannel::start_hear_send(int peer, int tag) {
  return impl_ ? std::make_unique<Announcement>(impl_->comm, peer, tag) : nullptr;
}

void ControlChannel::serve(const Call& mine) {
  if (impl_) impl_->serve(mine);
}

std::vector<int> ControlChannel::ranks_that_gave_up() const {
  std::vector<int> ranks;
  for (std::size_t rank = 0; rank < peers().size(); ++rank) {
    if (peers()[rank].gave_up) ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

const std::vector<PeerState>& ControlChannel::peers() const {
  static const std::vector<PeerState> kNobody;
  return impl_ ? impl_->peers : kNobody;
}

const std::vector<PeerState>& ControlChannel::ask_all(const Call& mine, std::chrono::milliseconds window) {
  if (!impl_) return peers();
  for (PeerState& peer : impl_->peers) peer.heard = peer.gave_up;
  impl_->send_to_all({.kind = NoticeKind::question, .call = mine, .reason = {}});
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
    Notice notice{.kind = NoticeKind::failed, .call = mine, .reason = {}};
    reason.copy(notice.reason.data(), kReasonBytes - 1);
    impl_->send_to_all(notice);
  } catch (const std::exception&) {
    // The peers find out by their timeouts.
  }
}

void ControlChannel::close() {
  if (impl_) mpi::check(MPI_Comm_free(&impl_->comm), "MPI_Comm_free");
}

}  // namespace bunchtrain::comm::detail
