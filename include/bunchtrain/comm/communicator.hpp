// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Collective operations on tensors over the backends self, mpi and nccl.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bunchtrain/comm/work.hpp"
#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/mpi/comm.hpp"

namespace bunchtrain::comm {

/// For bool, `sum` and `max` are "or", `min` is "and". The result of min and max with NaN is unspecified.
enum class ReduceOp { sum, min, max };

/// `automatic`: self for one rank, nccl where it is built and each rank has a GPU of its own, else mpi
/// (GPU tensors staged through the host). `nccl` with two ranks on a GPU is refused, unless tests told
/// them apart by NCCL_HOSTID.
enum class Backend { automatic, self, mpi, nccl };

struct CommunicatorOptions {
  Backend backend = Backend::automatic;
  /// How long an operation may take. On the CPU, pauses in which nobody polls it do not count; over nccl the
  /// time counts from when the GPU gets to the operation.
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  /// Checked mode: before every collective the ranks compare operation, size and dtype; a mismatch shows both
  /// calls. Each collective then waits for all ranks when it is issued; a receive compares with its send.
  bool checked = false;
  /// mpi only: longer operations travel as several messages (the counts of MPI are 32-bit numbers).
  std::int64_t max_message_elements = std::int64_t{1} << 28;
  /// mpi only: ranks that are all on one node sum through memory that they share, several times faster than MPI's
  /// messages. It takes about 2 MiB per rank (of /dev/shm with Open MPI); without it messages are sent.
  bool shared_memory = true;
  std::string name = "world";  ///< for messages
  Logger logger = {};
  /// nccl only: called by another thread, with the reason, when NCCL does not even give up within
  /// `abort_timeout`; must end the process, for NCCL cannot be interrupted. Without it the reason is logged
  /// as an error and the process ends with 75 (try again).
  std::function<void(const std::string&)> on_hang = {};
  std::chrono::milliseconds abort_timeout = std::chrono::seconds(60);

  /// @throws ConfigError if a limit is not positive.
  void validate() const;
};

/// A group of ranks and the operations between them. Cheap to copy (shared state).
///
/// Dtypes: float64/32/16, bfloat16, int8/32/64, uint8, bool (as 0/1). float16 and bfloat16 are added pairwise
/// in float32 and rounded after each addition. Empty tensors are allowed. Tensors must be contiguous (or
/// dense: channels-last counts); another one is refused with a ConfigError. Elements travel in memory order,
/// so all ranks must use the same strides.
///
/// All methods are "Collective: all ranks, same order" unless said otherwise, called from one thread: the one
/// that initialised MPI. A failed or timed-out operation poisons the communicator: every later call throws
/// CommError at once, and the peers get a CommError too, at the latest after the timeout. Ranks that are
/// silent are named.
class Communicator {
 public:
  struct Impl;
  /// A world of one rank, no MPI.
  static Communicator self();
  /// Collective. `comm` is duplicated and stays the caller's.
  /// @throws ConfigError if the backend does not fit the world, the device or the cards of the ranks;
  /// NotBuiltError for nccl without NCCL
  static Communicator create(const mpi::Comm& comm, c10::Device device, CommunicatorOptions options = {});

  int rank() const noexcept;
  int size() const noexcept;
  Backend backend() const noexcept;
  c10::Device device() const noexcept;  ///< where its tensors are, unless the backend is mpi: it takes any
  const std::string& name() const noexcept;
  const mpi::Comm& control() const noexcept;  ///< the control plane of the same ranks

  Work all_reduce(at::Tensor tensor, ReduceOp op = ReduceOp::sum);
  /// `input` [size * n] summed, rank r keeps elements [r n, (r+1) n) in `output` [n].
  /// In place: `output` may be that block of `input`, whose other blocks are unspecified afterwards.
  Work reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op = ReduceOp::sum);
  /// `output` [size * n] = inputs [n] of all ranks in rank order. In place: `input` may be this
  /// rank's block of `output`.
  Work all_gather(at::Tensor output, at::Tensor input);
  Work broadcast(at::Tensor tensor, int root);
  /// Both [size * n]: block r of `input` goes to rank r.
  Work all_to_all(at::Tensor output, at::Tensor input);
  /// Point to point, not collective: `peer` must receive a tensor of the same size and dtype. Sends to one
  /// peer with one tag arrive in their order; nccl ignores the tag (0 to 31998).
  Work send(at::Tensor tensor, int peer, int tag = 0);
  Work receive(at::Tensor tensor, int peer, int tag = 0);
  /// Why collectives cannot be part of work that a device takes down and repeats (`device::StepGraph`), as part of a
  /// sentence; empty: they can. Not collective.
  std::string why_not_captured() const;
  /// Around `work`, which takes down such work, to see what this rank alone may fail in before peers depend on it: its
  /// collectives are checked and counted, not started, and what they would give is left as it is.
  /// Not collective. @throws CommError as any operation, and what `work` throws. @returns how many collectives there were
  int rehearse(const std::function<void()>& work);
  /// Around `work`, which takes down such work: its collectives are waited for within it, run later, by `repeat`, and count
  /// then. All ranks take down the same ones. The graph ends before the communicator is closed, for which NCCL waits.
  /// @param collectives that `rehearse` counted: if `work` throws before all of them were started, peers may wait for the
  /// others, so the communicator fails, on all ranks at once
  /// Not collective. @throws CommError as any operation, and what `work` throws.
  void capture(const std::function<void()>& work, int collectives = 0);
  /// What was captured, run once more: `launch` enqueues it on the device's current stream. It is one operation, with one
  /// timeout and one line of the record; `graph` numbers what was captured, alike on all ranks.
  /// @throws CommError as any operation, and what `launch` throws.
  Work repeat(const std::function<void()>& launch, int graph);
  /// Of the hosts: returns when all ranks are here. Does not wait for GPUs.
  void barrier();
  /// Ranks with the same colour (0 or above) form a communicator with the same options,
  /// ordered by key then rank.
  Communicator split(int color, int key, std::string name);

  /// For loops that wait for data between operations: answers ranks that ask where this one is, so that they
  /// do not take slow storage for a dead rank. Cheap, never waits. Not collective.
  /// @throws CommError if a peer failed.
  void tell_reading();
  /// Called once, when the communicator fails, with the reason. Holds for all copies of this object.
  void on_failure(std::function<void(const std::string&)> listener);
  /// A heading, then the last operations of this rank, one line each with time and phase, the
  /// latest last. Not collective.
  std::string last_operations() const;

  /// Marks the communicator as failed: every later call throws CommError with this reason, also on
  /// the peers. Not collective.
  void poison(std::string reason) noexcept;
  /// Collective: completes parked operations and frees the handles. On a poisoned communicator: not
  /// collective, frees nothing.
  /// @throws CommError if callers still hold operations in flight.
  void close();

  explicit Communicator(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<Impl> impl_;
};

/// "auto", "self", "mpi" or "nccl".
std::string_view to_string(Backend backend) noexcept;
/// @throws ConfigError with the names allowed.
Backend parse_backend(std::string_view text);

}  // namespace bunchtrain::comm
