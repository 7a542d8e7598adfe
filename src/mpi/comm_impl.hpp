// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The state behind Comm.

#include <fmt/format.h>
#include <mpi.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "bunchtrain/mpi/detail/check.hpp"
#include "bunchtrain/mpi/detail/flight_record.hpp"
#include "leave_to_mpi.hpp"
#include "notices.hpp"
#include "phase_stack.hpp"

namespace bunchtrain::mpi {

/// A collective of the control plane; its name is a literal.
struct ControlOperation {
  std::string_view name;
};
inline std::string describe(const ControlOperation& operation) { return std::string(operation.name); }

/// What all communicators of one job share: those made from one another.
struct Job {
  std::atomic<bool> failed = false;
  std::atomic<std::chrono::milliseconds> timeout = kDefaultTimeout;
  std::shared_ptr<Phase::Stack> phases = std::make_shared<Phase::Stack>();
  std::function<void(const std::string&)> on_slow_peer = {};
  std::function<void(const std::string&)> on_failure = {};
  FlightRecord<ControlOperation> record = {};

  void fail(const std::string& reason) noexcept;
};

/// The ranks of a communicator and the nodes they live on.
struct Neighbours {
  std::vector<ProcessIdentity> processes = {this_process()};  ///< in rank order
  int local_rank = 0;
  int local_size = 1;
  int num_nodes = 1;
};

struct Comm::Impl {
  MPI_Comm handle = MPI_COMM_NULL;
  std::shared_ptr<Job> job = std::make_shared<Job>();
  bool closed = false;
  bool without_mpi = true;
  int rank = 0;
  int size = 1;
  Neighbours neighbours = {};
  std::optional<Notices> notices = {};  ///< none in a world of one

  /// Takes `handle` over. Collective unless the neighbours are known.
  static Comm own(MPI_Comm handle, std::shared_ptr<Job> job, std::optional<Neighbours> neighbours = {});

  std::string at(std::string_view operation) const {
    return fmt::format("{} on rank {} of {}", operation, rank, size);
  }
  std::string describe_ranks(std::span<const int> ranks) const;

  /// False if there is nobody to talk to.
  bool communicates(std::string_view operation) const {
    if (closed) throw CommError(at(operation) + ": the communicator was closed before");
    if (without_mpi) return false;
    require_mpi_thread(operation);
    return true;
  }

  /// Polls `request` to its end. @throws CommError once patience is over.
  void finish(MPI_Request* request, std::string_view operation);

  /// Starts a nonblocking operation on `buffers`, records it and polls it to its end; returns the buffers.
  template <class Buffers, class Start>
  Buffers run(std::string_view operation, Buffers buffers, Start&& start) {
    auto owned = std::make_unique<Buffers>(std::move(buffers));
    MPI_Request request = MPI_REQUEST_NULL;
    check(start(*owned, &request), at(operation));
    const std::uint64_t ticket = job->record.start({operation}, job->phases->text());
    try {
      finish(&request, operation);
    } catch (const std::exception& error) {
      leave_to_mpi(std::move(owned));
      job->fail(error.what());
      throw;
    }
    job->record.complete(ticket);
    return std::move(*owned);
  }

  std::int64_t reduce(std::string_view operation, std::int64_t value, MPI_Op op);
  void broadcast_piece(std::string& bytes, std::size_t begin, int root);
  /// Collective: a duplicate, made without blocking.
  static MPI_Comm duplicate_native(Impl& impl, std::string_view operation);
};

}  // namespace bunchtrain::mpi
