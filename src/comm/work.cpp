// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/comm/work.hpp"

#include <chrono>

#include "bunchtrain/core/error.hpp"
#include "communicator_impl.hpp"

namespace bunchtrain::comm {
namespace {
// An operation that nobody polls makes no progress: longer pauses do not count against its timeout.
constexpr std::chrono::milliseconds kUnattended{100};
}  // namespace

Work::Impl::Impl(std::shared_ptr<Communicator::Impl> owner, std::unique_ptr<detail::InFlight> started,
                 const detail::Call& issued, std::uint64_t record_ticket)
    : communicator_(std::move(owner)),
      operation_(std::move(started)),
      call_(issued),
      ticket_(record_ticket),
      last_polled_(Communicator::Impl::Clock::now()),
      deadline_(last_polled_ + communicator_->options.timeout) {
  if (operation_) {
    ++communicator_->unfinished;
  } else {
    communicator_->record.complete(ticket_);
  }
}

Work::Impl::~Impl() {
  if (!operation_) return;
  --communicator_->unfinished;
  communicator_->park(std::move(operation_), ticket_);
}

bool Work::Impl::poll() {
  if (!operation_) return true;
  const auto now = Communicator::Impl::Clock::now();
  if (now - last_polled_ > kUnattended) deadline_ += now - last_polled_;
  if (!operation_->has_begun()) deadline_ = now + communicator_->options.timeout;
  last_polled_ = now;
  if (!communicator_->pump(*operation_, call_, deadline_)) return false;
  operation_.reset();
  --communicator_->unfinished;
  communicator_->record.complete(ticket_);
  return true;
}

void Work::Impl::wait() {
  if (operation_ && communicator_->order_current_stream(*operation_, call_)) {
    --communicator_->unfinished;
    communicator_->park(std::move(operation_), ticket_);  // keeps the tensors until the GPU is done with them
    return;
  }
  const auto begin = Communicator::Impl::Clock::now();
  while (!poll()) detail::rest(Communicator::Impl::Clock::now() - begin);
}

bool Work::poll() {
  expects(valid(), "Work::poll on a default-constructed Work");
  return impl_->poll();
}

void Work::wait() {
  expects(valid(), "Work::wait on a default-constructed Work");
  impl_->wait();
}

}  // namespace bunchtrain::comm
