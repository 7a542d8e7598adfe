// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The state behind Communicator and Work.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend.hpp"
#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/detail/flight_record.hpp"
#include "call.hpp"
#include "control_channel.hpp"

namespace bunchtrain::comm {

/// Runs every operation through the same steps: refuse if poisoned, validate, compare (checked
/// mode), start, pump, record.
struct Communicator::Impl : std::enable_shared_from_this<Communicator::Impl> {
  using Clock = std::chrono::steady_clock;

  /// Collective. Takes `owned_comm` over: `close()` frees it. `whole`: of the communicator that it is a part of.
  Impl(mpi::Comm owned_comm, c10::Device on_device, Backend chosen, CommunicatorOptions opts,
       const detail::ControlChannel* whole);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// Issues an operation on tensors. `call` holds the operation and its arguments; the rest is filled in.
  Work start(detail::Call call, detail::Buffers buffers);
  std::string why_not_captured() const;
  int rehearse(const std::function<void()>& work);
  void capture(const std::function<void()>& work, int collectives);
  Work repeat(const std::function<void()>& launch, int graph);
  void barrier();
  std::string last_operations() const;
  Communicator split(int color, int key, std::string name);
  void close();

  /// Answers peers that ask where this rank is: it waits for data.
  void tell_reading();

  /// One step of an operation in flight; true once complete. @throws CommError on failure or
  /// timeout, after poisoning
  bool pump(detail::InFlight& operation, const detail::Call& call, Clock::time_point deadline);
  /// Orders the current GPU stream after the operation; false if its backend cannot. @throws as `pump`
  bool order_current_stream(detail::InFlight& operation, const detail::Call& call);
  /// Keeps an operation alive that nobody waits for any more.
  void park(std::unique_ptr<detail::InFlight> operation, std::uint64_t ticket) noexcept;
  /// Whether the peers hear of it too: not if they know.
  enum class Tell { peers, nobody };
  void poison(std::string reason, Tell tell) noexcept;

  mpi::Comm control;
  CommunicatorOptions options;
  c10::Device device;
  Backend backend_kind;
  mpi::FlightRecord<detail::Call> record;
  std::function<void(const std::string&)> on_failure = {};
  int unfinished = 0;  ///< Works that are neither complete nor parked

 private:
  struct Parked {
    std::unique_ptr<detail::InFlight> operation;
    std::uint64_t ticket;
  };

  /// Refuses if poisoned, closed, or if a peer gave up.
  void require_usable(const detail::Call& call);
  /// Checked mode: throws on every rank if the ranks issued different calls.
  void compare_with_peers(const detail::Call& call);
  std::unique_ptr<detail::InFlight> start_on_backend(const detail::Call& call,
                                                     const detail::Buffers& buffers);
  template <class Operation>
  void finish(std::unique_ptr<Operation>& operation, const detail::Call& call);
  void rendezvous(detail::Operation operation);
  [[noreturn]] void fail(std::string message, Tell tell);
  /// Reacts to what a backend reported.
  [[noreturn]] void fail(const CommError& error, const detail::Call& call);
  [[noreturn]] void time_out(const detail::Call& call);
  /// Hears what peers say; fails if one of them failed.
  void serve_peers(const detail::Call& call);
  void forget_complete();
  void drain_parked();

  detail::ControlChannel channel_;
  std::unique_ptr<detail::CollectiveBackend> backend_;
  std::uint64_t sequence_ = 0;
  int issued_ = 0;          ///< collectives, rehearsed ones too
  bool rehearses_ = false;  ///< they are not started
  bool closed_ = false;
  std::optional<std::string> poison_reason_;
  std::vector<Parked> parked_;
  Clock::time_point last_served_{};
  std::optional<Clock::time_point> give_up_at_;  ///< a peer gave up: no point in waiting longer than this
};

/// Collective: a communicator that takes `owned_comm` over, which may be a part of another one.
Communicator create_owning(mpi::Comm owned_comm, c10::Device device, Backend kind,
                           CommunicatorOptions options, const detail::ControlChannel* whole = nullptr);

/// One operation as its caller holds it. Destroyed in flight it hands the operation to the communicator.
struct Work::Impl {
  /// `started` is null if the operation is complete.
  Impl(std::shared_ptr<Communicator::Impl> owner, std::unique_ptr<detail::InFlight> started,
       const detail::Call& issued, std::uint64_t record_ticket);
  /// Complete, and in no record.
  explicit Impl(std::shared_ptr<Communicator::Impl> owner) noexcept : communicator_(std::move(owner)) {}
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  bool poll();
  void wait();

 private:
  std::shared_ptr<Communicator::Impl> communicator_;
  std::unique_ptr<detail::InFlight> operation_;
  detail::Call call_ = {};
  std::uint64_t ticket_ = 0;
  Communicator::Impl::Clock::time_point last_polled_ = {};
  Communicator::Impl::Clock::time_point deadline_ = {};
};

}  // namespace bunchtrain::comm
