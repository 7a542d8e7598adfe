// SPDX-License-Identifier: Apache-2.0
#include "notices.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "bunchtrain/mpi/detail/check.hpp"
#include "leave_to_mpi.hpp"

namespace bunchtrain::mpi {
namespace {

constexpr int kTag = 31'999;  // on the control communicator nobody else sends point to point
constexpr const char* kWhat = "notice to a peer";

template <std::size_t Size>
void put(std::array<char, Size>& field, std::string_view text) {
  field[text.copy(field.data(), Size - 1)] = '\0';
}

}  // namespace

Notices::Notices(MPI_Comm comm, int rank, int size)
    : comm_(comm), rank_(rank), answers_(static_cast<std::size_t>(size)) {}

Notices::~Notices() {
  if (!outgoing_.empty()) leave_to_mpi(std::make_shared<std::list<Outgoing>>(std::move(outgoing_)));
}

void Notices::send(const Notice& notice, int peer) {
  Outgoing& message = outgoing_.emplace_back(Outgoing{.notice = notice});
  check(MPI_Isend(&message.notice, sizeof(Notice), MPI_BYTE, peer, kTag, comm_, &message.request), kWhat);
}

void Notices::send_to_all(const Notice& notice) {
  for (int peer = 0; peer < static_cast<int>(answers_.size()); ++peer)
    if (peer != rank_) send(notice, peer);
}

void Notices::serve(std::string_view operation, std::string_view phase) {
  std::erase_if(outgoing_, [](Outgoing& message) {
    int done = 0;
    check(MPI_Test(&message.request, &done, MPI_STATUS_IGNORE), kWhat);
    return done != 0;
  });
  for (;;) {
    int found = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    check(MPI_Improbe(MPI_ANY_SOURCE, kTag, comm_, &found, &message, &status), "notices of peers");
    if (found == 0) return;
    Notice notice;  // it is here already: the receive below does not wait
    check(MPI_Mrecv(&notice, sizeof(Notice), MPI_BYTE, &message, MPI_STATUS_IGNORE), "notices of peers");
    hear(notice, status.MPI_SOURCE, operation, phase);
  }
}

void Notices::hear(const Notice& notice, int from, std::string_view operation, std::string_view phase) {
  PeerAnswer& peer = answers_[static_cast<std::size_t>(from)];
  switch (notice.kind) {
    case Kind::question: {
      Notice answer{.kind = Kind::answer, .question = notice.question};
      put(answer.operation, operation);
      put(answer.phase, phase);
      return send(answer, from);
    }
    case Kind::answer:
      if (notice.question == question_)
        peer = {.heard = true, .operation = notice.operation.data(), .phase = notice.phase.data()};
      return;
    case Kind::failed:
      if (!failure_) failure_ = notice.reason.data();
      return;
    case Kind::speaks:
      other_speaks_ = true;
      return;
  }
}

void Notices::ask_all() {
  ++question_;
  std::ranges::fill(answers_, PeerAnswer{});
  send_to_all({.kind = Kind::question, .question = question_});
}

bool Notices::all_answered() const {
  const auto heard = std::ranges::count_if(answers_, &PeerAnswer::heard);
  return heard + 1 >= std::ssize(answers_);
}

void Notices::tell_failed(std::string_view reason) {
  Notice notice{.kind = Kind::failed};
  put(notice.reason, reason);
  send_to_all(notice);
}

void Notices::tell_speaks() { send_to_all({.kind = Kind::speaks}); }

}  // namespace bunchtrain::mpi
