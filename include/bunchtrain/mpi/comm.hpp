// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Control plane over MPI: small host-side messages for start-up, agreement and shutdown.
/// Tensors travel by `comm`.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/core/process.hpp"
#include "bunchtrain/mpi/phase.hpp"

namespace bunchtrain::mpi {

/// How long a collective may take unless the application says otherwise.
inline constexpr std::chrono::milliseconds kDefaultTimeout = std::chrono::minutes(30);

/// An owned duplicate of an MPI communicator, or a world of one rank that needs no MPI at all.
///
/// Cheap to copy (shared state). Every method marked "Collective" must be called by all ranks in the same
/// order, from the thread that initialised MPI. While a rank waits in one it sleeps between looks, answers
/// its peers' questions, and gives up after the timeout; time in which it did not run itself (a suspended
/// job) does not count. The message names the ranks that do not answer, what is known of their processes
/// (stopped, gone, waiting for a disk) and the phase of the job.
///
/// A slow disk is told from a dead rank: in a phase that waits for a disk (`in_phase`), ranks that are alive,
/// or on another machine, get four timeouts. `on_slow_peer` hears of late ranks before that.
/// @throws CommError with MPI's text, or naming operation, phase and ranks.
/// Never communicates in the destructor: call `close()`.
class Comm {
 public:
  struct Impl;

  /// A world of one rank; MPI is not touched.
  static Comm self();
  /// Collective: a duplicate of an application's communicator, given as `MPI_Comm_c2f(communicator)`, so that
  /// this header needs no MPI header. The application keeps its own.
  static Comm duplicate_of(int fortran_handle, std::chrono::milliseconds timeout = kDefaultTimeout);
  explicit Comm(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

  int rank() const noexcept;
  int size() const noexcept;
  /// Rank and number of ranks on this node: ranks under one running kernel (never from environment variables;
  /// MPI_Comm_split_type would wait without end for a rank that is stopped).
  int local_rank() const noexcept;
  int local_size() const noexcept;
  /// Number of distinct nodes.
  int num_nodes() const noexcept;
  /// The process of a rank.
  const ProcessIdentity& process_of(int rank) const;

  /// Collective.
  void barrier() const;
  /// Collective. Bytes of `root`, on every rank.
  std::string broadcast(std::string bytes, int root = 0) const;
  /// Collective. Texts of all ranks in rank order, on every rank (together below 2 GiB).
  std::vector<std::string> all_gather(const std::string& bytes) const;
  /// Collective.
  std::int64_t all_max(std::int64_t value) const;
  std::int64_t all_min(std::int64_t value) const;
  std::int64_t all_sum(std::int64_t value) const;
  /// Collective: throws on every rank if any rank passes a text that is not empty; the message names the
  /// ranks. Use it for errors that one rank may see alone. @throws DataError
  void agree_or_throw(const std::string& error_text) const;
  /// Collective: runs `action`, which communicates nothing, and throws on every rank what it threw
  /// on any: an error of the same class with the same text, the ranks named. A full disk of one
  /// rank is an IoError on all.
  void together(const std::function<void()>& action) const;
  /// Collective: ranks with the same colour (0 or above) form a communicator, ordered by key then rank. MPI
  /// has no bounded form of it: all ranks meet before, so that only one that stops just then can hold it.
  Comm split(int color, int key) const;
  /// Collective.
  Comm duplicate() const;
  /// Collective: frees the communicator, for all copies of this object. Afterwards every
  /// collective throws CommError.
  void close();

  /// How long a collective of this communicator and of those made from it may take.
  void set_timeout(std::chrono::milliseconds timeout) noexcept;
  std::chrono::milliseconds timeout() const noexcept;
  /// What the job does from here to the end of the object's life: "writing snapshot 40". Shared by all
  /// communicators made from one another. Not collective.
  [[nodiscard]] Phase in_phase(std::string text, Waits waits = Waits::for_peers) const;
  /// The innermost phase, or "".
  std::string phase() const;
  /// Called on one waiting rank when others are late: after 30 s, then at growing intervals. Holds for all
  /// communicators made from one another.
  void on_slow_peer(std::function<void(const std::string&)> listener);
  /// Called once on this rank, with the reason, when a collective here fails. Holds for all communicators
  /// made from one another.
  void on_failure(std::function<void(const std::string&)> listener);
  /// The last collectives of all communicators made from one another, one line each with time and phase, the
  /// latest last; from the thread that makes them.
  std::string last_operations() const;
  /// "rank 1 (process 4711 on node7 is stopped)".
  std::string describe_ranks(std::span<const int> ranks) const;
  /// Whether this rank is the one that tells why the job ends: ranks that fail together hear of each other
  /// for `patience` and leave it to the first. Not collective; after a failure only.
  bool speaks_for_job(std::chrono::milliseconds patience) noexcept;
  /// Notes that the job cannot end orderly any more (a rank is gone or silent): `Environment` then
  /// skips the collective MPI_Finalize, which would hang. Holds for all communicators made from one
  /// another. Not collective.
  void mark_failed() noexcept;
  bool failed() const noexcept;

  /// False for `self()`.
  bool has_mpi() const noexcept;
  /// The handle as `MPI_Comm_c2f` gives it; stays owned by this object. @throws CommError if there is none.
  int fortran_handle() const;
  /// Collective: the handle of a bare duplicate that returns its errors; the caller frees it, collectively.
  int create_handle() const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace bunchtrain::mpi
