// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Control plane over MPI: small host-side messages for start-up, agreement and shutdown. Tensors travel by
/// `comm`.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bunchtrain::mpi {

/// An owned duplicate of an MPI communicator, or a world of one rank that needs no MPI at all.
///
/// Cheap to copy (shared state). Every method marked "Collective" must be called by all ranks in the same
/// order, from the thread that initialised MPI. Collectives poll and give up after a timeout (30 minutes
/// unless `set_timeout` says otherwise):
/// @throws CommError with MPI's text, or naming the operation that timed out.
/// Never communicates in the destructor: call `close()`.
class Comm {
 public:
  struct Impl;

  /// A world of one rank; MPI is not touched.
  static Comm self();
  /// Collective: a duplicate of an application's communicator, given as `MPI_Comm_c2f(communicator)`, so that
  /// this header needs no MPI header. The application keeps its own.
  static Comm duplicate_of(int fortran_handle);
  explicit Comm(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

  int rank() const noexcept;
  int size() const noexcept;
  /// Rank and number of ranks on this node, from MPI_Comm_split_type (never from environment variables).
  int local_rank() const noexcept;
  int local_size() const noexcept;
  /// Number of distinct nodes.
  int num_nodes() const noexcept;

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
  /// Collective: ranks with the same colour (0 or above) form a communicator, ordered by key then rank.
  Comm split(int color, int key) const;
  /// Collective.
  Comm duplicate() const;
  /// Collective: frees the communicator, for all copies of this object. Afterwards every collective throws
  /// CommError.
  void close();

  /// How long a collective of this communicator and of those made from it may take.
  void set_timeout(std::chrono::milliseconds timeout) noexcept;
  /// Notes that the job cannot end orderly any more (a rank is gone or silent): `Environment` then skips the
  /// collective MPI_Finalize, which would hang. Holds for all communicators made from one another. Not
  /// collective.
  void mark_failed() noexcept;
  bool failed() const noexcept;

  /// False for `self()`.
  bool has_mpi() const noexcept;
  /// The handle as `MPI_Comm_c2f` gives it; stays owned by this object. @throws CommError if there is none.
  int fortran_handle() const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace bunchtrain::mpi
