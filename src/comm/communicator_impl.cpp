// SPDX-License-Identifier: Apache-2.0
#include "communicator_impl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "abandon.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/detail/check.hpp"
#include "bunchtrain/mpi/detail/rank_ranges.hpp"
#include "diagnosis.hpp"
#include "validate.hpp"

namespace bunchtrain::comm {

using detail::Call;
using detail::InFlight;
using detail::Operation;
using detail::rest;

namespace {

constexpr std::chrono::milliseconds kServeEvery{20};
constexpr std::chrono::milliseconds kAnswerWindow{2000};
constexpr std::size_t kRecordLines = 5;

std::unique_ptr<detail::CollectiveBackend> create_backend(Backend kind, const mpi::Comm& comm,
                                                          c10::Device device,
                                                          const CommunicatorOptions& options) {
  switch (kind) {
    case Backend::mpi:
      return detail::create_mpi_backend(comm, options);
    case Backend::nccl:
      return detail::create_nccl_backend(comm, device, options);
    default:
      return detail::create_self_backend();
  }
}

/// Checked mode: what the sender says it sent is compared before the data counts.
class ComparedReceive : public InFlight {
 public:
  ComparedReceive(std::string communicator, int rank, const Call& mine,
                  std::unique_ptr<detail::CallExchange> announcement, std::unique_ptr<InFlight> data)
      : communicator_(std::move(communicator)),
        rank_(rank),
        mine_(mine),
        announcement_(std::move(announcement)),
        data_(std::move(data)) {}

  bool poll() override {
    if (announcement_) {
      if (!announcement_->poll()) return false;
      compare(announcement_->calls().front());
      announcement_.reset();
    }
    return data_->poll();
  }
  bool has_begun() override { return announcement_ || data_->has_begun(); }
  bool order_current_stream() override { return !announcement_ && data_->order_current_stream(); }

 private:
  void compare(const Call& theirs) const {
    if (theirs.numel == mine_.numel && theirs.dtype == mine_.dtype) return;
    throw CommError(
        fmt::format("communicator '{}': sender and receiver do not match:\n  rank {}: {}\n  rank {}: {}",
                    communicator_, mine_.root, describe(theirs), rank_, describe(mine_)));
  }

  std::string communicator_;
  int rank_;
  Call mine_;
  std::unique_ptr<detail::CallExchange> announcement_;
  std::unique_ptr<InFlight> data_;
};

}  // namespace

Communicator::Impl::Impl(mpi::Comm owned_comm, c10::Device on_device, Backend chosen,
                         CommunicatorOptions opts, const detail::ControlChannel* whole)
    : control(std::move(owned_comm)),
      options(std::move(opts)),
      device(on_device),
      backend_kind(chosen),
      channel_(whole ? detail::ControlChannel(*whole, control, options.name)
                     : detail::ControlChannel(control, options.name)),
      backend_(create_backend(chosen, control, on_device, options)) {
  backend_->while_waiting([this] { serve_peers(record.last()); });
}

Communicator::Impl::~Impl() {
  backend_->while_waiting({});
  if (!closed_) backend_->abort();
  if (parked_.empty()) return;
  detail::abandon(std::make_shared<std::vector<Parked>>(std::move(parked_)));
  detail::abandon(std::shared_ptr<void>(std::move(backend_)));  // what the operations were started with
}

Work Communicator::Impl::start(Call call, detail::Buffers buffers) {
  require_usable(call);
  detail::validate(
      call, buffers,
      {.rank = control.rank(), .size = control.size(), .device = device, .backend = backend_kind});
  const at::Tensor& shown = buffers.input.defined() ? buffers.input : buffers.output;
  call.numel = shown.numel();
  call.dtype = shown.scalar_type();
  call.layout = detail::layout_hash(shown);
  ++issued_;
  if (rehearses_) return Work(std::make_shared<Work::Impl>(shared_from_this()));
  call.sequence = call.is_point_to_point() ? sequence_ : ++sequence_;
  forget_complete();

  const std::uint64_t ticket = record.start(call, control.phase());
  if (options.checked && !call.is_point_to_point()) compare_with_peers(call);
  auto operation = start_on_backend(call, buffers);
  return Work(std::make_shared<Work::Impl>(shared_from_this(), std::move(operation), call, ticket));
}

std::unique_ptr<InFlight> Communicator::Impl::start_on_backend(const Call& call,
                                                               const detail::Buffers& buffers) {
  Call native = call;
  if (call.dtype == at::kBool && call.op == ReduceOp::sum)
    native.op = ReduceOp::max;  // a sum of bools is their "or"
  try {
    if (options.checked && call.operation == Operation::send) channel_.announce_send(call, call.root);
    if (options.checked && call.operation == Operation::receive) {
      if (auto announcement = channel_.start_hear_send(call.root, call.tag)) {
        return std::make_unique<ComparedReceive>(options.name, control.rank(), call, std::move(announcement),
                                                 backend_->start(native, buffers));
      }
    }
    return backend_->start(native, buffers);
  } catch (const CommError& error) {
    fail(error, call);
  }
}

bool Communicator::Impl::pump(InFlight& operation, const Call& call, Clock::time_point deadline) {
  if (poison_reason_) throw CommError(*poison_reason_);
  try {
    if (operation.poll()) return true;
  } catch (const CommError& error) {
    fail(error, call);
  }
  const auto now = Clock::now();
  if (now - last_served_ >= kServeEvery) {
    last_served_ = now;
    serve_peers(call);
  }
  if (now > std::min(deadline, give_up_at_.value_or(deadline))) time_out(call);
  return false;
}

bool Communicator::Impl::order_current_stream(InFlight& operation, const Call& call) {
  if (poison_reason_) throw CommError(*poison_reason_);
  try {
    return operation.order_current_stream();
  } catch (const CommError& error) {
    fail(error, call);
  }
}

template <class Operation>
void Communicator::Impl::finish(std::unique_ptr<Operation>& operation, const Call& call) {
  const auto deadline = Clock::now() + options.timeout;
  try {
    const auto begin = Clock::now();
    while (!pump(*operation, call, deadline)) rest(Clock::now() - begin);
  } catch (...) {
    parked_.push_back({std::move(operation), record.last_ticket()});
    throw;
  }
}

void Communicator::Impl::require_usable(const Call& call) {
  const auto where = [&] {
    return fmt::format("{} on communicator '{}'", to_string(call.operation), options.name);
  };
  if (poison_reason_) throw CommError(fmt::format("{}: it failed before: {}", where(), *poison_reason_));
  if (closed_) throw CommError(where() + ": it was closed before");
  if (control.has_mpi()) mpi::require_mpi_thread(to_string(call.operation));
  serve_peers(record.last());
  const auto gone = channel_.ranks_that_gave_up();
  if (gone.empty()) return;
  fail(fmt::format("{}: {} gave up waiting in {} while rank {} was busy elsewhere; raise "
                   "CommunicatorOptions::timeout if "
                   "that may take so long",
                   where(), mpi::rank_ranges(gone),
                   describe(channel_.peers()[static_cast<std::size_t>(gone.front())].call), control.rank()),
       Tell::peers);
}

void Communicator::Impl::serve_peers(const Call& call) {
  channel_.serve(call);
  if (const auto& failure = channel_.failure())
    fail(fmt::format("communicator '{}': rank {} failed: {}", options.name, failure->rank, failure->reason),
         Tell::nobody);
  if (!give_up_at_ && !channel_.ranks_that_gave_up().empty()) give_up_at_ = Clock::now() + kAnswerWindow;
}

void Communicator::Impl::tell_reading() {
  if (poison_reason_ || closed_) return;
  serve_peers({.sequence = sequence_, .operation = Operation::reading});
}

void Communicator::Impl::compare_with_peers(const Call& call) {
  auto exchange = channel_.start_exchange(call);
  if (!exchange) return;
  finish(exchange, call);
  const auto& calls = exchange->calls();
  const bool same = std::ranges::all_of(calls, [&](const Call& other) { return other == calls.front(); });
  if (!same) fail(detail::describe_mismatch(options.name, calls), Tell::nobody);
}

void Communicator::Impl::rendezvous(Operation operation) {
  Call call{.operation = operation};
  require_usable(call);
  call.sequence = ++sequence_;
  const std::uint64_t ticket = record.start(call, control.phase());
  if (options.checked) compare_with_peers(call);
  if (auto barrier = channel_.start_barrier()) finish(barrier, call);
  record.complete(ticket);
}

void Communicator::Impl::barrier() { rendezvous(Operation::barrier); }

Communicator Communicator::Impl::split(int color, int key, std::string name) {
  rendezvous(Operation::split);  // bounded in time, unlike MPI_Comm_split
  CommunicatorOptions part = options;
  part.name = std::move(name);
  mpi::Comm ranks = control.split(color, key);
  const bool alone = ranks.size() == 1 && options.backend == Backend::automatic;
  return create_owning(std::move(ranks), device, alone ? Backend::self : backend_kind, std::move(part),
                       &channel_);
}

void Communicator::Impl::close() {
  if (closed_) return;
  if (poison_reason_) {
    closed_ = true;
    return;
  }
  if (unfinished > 0) {
    throw CommError(fmt::format(
        "close of communicator '{}': {} operations are still held by their callers; wait for them or "
        "drop them first",
        options.name, unfinished));
  }
  drain_parked();
  rendezvous(Operation::close);
  backend_->close();
  channel_.close();
  control.close();
  closed_ = true;
}

void Communicator::Impl::drain_parked() {
  const Call call{.sequence = sequence_, .operation = Operation::close};
  auto deadline = Clock::now() + options.timeout;
  while (!parked_.empty()) {
    const auto begin = Clock::now();
    while (!pump(*parked_.back().operation, call, deadline)) {
      if (!parked_.back().operation->has_begun()) deadline = Clock::now() + options.timeout;
      rest(Clock::now() - begin);
    }
    record.complete(parked_.back().ticket);
    parked_.pop_back();
  }
}

void Communicator::Impl::park(std::unique_ptr<InFlight> operation, std::uint64_t ticket) noexcept {
  parked_.push_back({std::move(operation), ticket});
}

void Communicator::Impl::forget_complete() {
  try {
    for (std::size_t index = parked_.size(); index-- > 0;) {
      if (!parked_[index].operation->poll()) continue;
      record.complete(parked_[index].ticket);
      std::swap(parked_[index], parked_.back());
      parked_.pop_back();
    }
  } catch (const CommError& error) {
    fail(error, record.last());
  }
}

std::string Communicator::Impl::last_operations() const {
  return fmt::format("Last operations of rank {} on communicator '{}':\n{}", control.rank(), options.name,
                     record.tail());
}

void Communicator::Impl::poison(std::string reason, Tell tell) noexcept {
  if (poison_reason_ || closed_) return;
  poison_reason_ = std::move(reason);
  control.mark_failed();
  if (tell == Tell::peers) channel_.tell_failed(record.last(), *poison_reason_);
  backend_->abort();
  try {
    if (on_failure) on_failure(*poison_reason_);
  } catch (const std::exception&) {
    // The failure itself is what matters.
  }
}

void Communicator::Impl::fail(std::string message, Tell tell) {
  poison(message, tell);
  throw CommError(std::move(message));
}

void Communicator::Impl::fail(const CommError& error, const Call& call) {
  if (dynamic_cast<const detail::OperationTimeout*>(&error) != nullptr) time_out(call);
  fail(error.message(), Tell::peers);
}

void Communicator::Impl::time_out(const Call& call) {
  const auto& peers = channel_.ask_all(call, kAnswerWindow);
  fail(detail::describe_timeout(
           {.communicator = options.name,
            .rank = control.rank(),
            .call = call,
            .timeout = options.timeout,
            .peers = peers,
            .last_operations = record.tail(kRecordLines),
            .phase = control.phase(),
            .describe_ranks = [this](std::span<const int> ranks) { return control.describe_ranks(ranks); }}),
       Tell::peers);
}

}  // namespace bunchtrain::comm
