// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/comm.hpp"

#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/check.hpp"
#include "bunchtrain/mpi/rank_ranges.hpp"

namespace bunchtrain::mpi {
namespace {

constexpr std::chrono::milliseconds kDefaultTimeout = std::chrono::minutes(30);
constexpr std::size_t kMaxPieceBytes = std::size_t{1} << 30;  // MPI counts are ints

/// What all communicators of one job share: those made from one another.
struct Job {
  std::atomic<bool> failed = false;
  std::atomic<std::chrono::milliseconds> timeout = kDefaultTimeout;
};

/// Keeps what MPI may still write to until the process ends.
void leave_to_mpi(std::shared_ptr<void> buffers) {
  static std::mutex mutex;
  static auto& left =
      *new std::vector<std::shared_ptr<void>>;  // never destroyed: MPI outlives static objects
  const std::scoped_lock lock(mutex);
  left.push_back(std::move(buffers));
}

struct Reduction {
  std::int64_t mine = 0;
  std::int64_t all = 0;
};

}  // namespace

struct Comm::Impl {
  MPI_Comm handle = MPI_COMM_NULL;
  std::shared_ptr<Job> job = std::make_shared<Job>();
  bool closed = false;
  bool without_mpi = true;
  int rank = 0;
  int size = 1;
  int local_rank = 0;
  int local_size = 1;
  int num_nodes = 1;

  std::string at(std::string_view operation) const {
    return fmt::format("{} on rank {} of {}", operation, rank, size);
  }

  /// False if there is nobody to talk to.
  bool communicates(std::string_view operation) const {
    if (closed) throw CommError(at(operation) + ": the communicator was closed before");
    if (without_mpi) return false;
    require_mpi_thread(operation);
    return true;
  }

  bool finish(MPI_Request request, std::string_view operation) const {
    const auto deadline = std::chrono::steady_clock::now() + job->timeout.load();
    for (;;) {
      int done = 0;
      check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), at(operation));
      if (done != 0) return true;
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
  }

  /// Starts a nonblocking operation on `buffers` and polls it to its end; returns the buffers.
  template <class Buffers, class Start>
  Buffers run(std::string_view operation, Buffers buffers, Start&& start) const {
    auto owned = std::make_unique<Buffers>(std::move(buffers));
    MPI_Request request = MPI_REQUEST_NULL;
    check(start(*owned, &request), at(operation));
    if (finish(request, operation)) return std::move(*owned);
    leave_to_mpi(std::move(owned));
    job->failed = true;
    throw CommError(fmt::format(
        "{}: no answer from the other ranks within {} s; one of them failed or left the common order",
        at(operation), job->timeout.load().count() / 1000.0));
  }

  std::int64_t reduce(std::string_view operation, std::int64_t value, MPI_Op op) const {
    if (!communicates(operation)) return value;
    return run(operation, Reduction{.mine = value},
               [&](Reduction& buffers, MPI_Request* request) {
                 return MPI_Iallreduce(&buffers.mine, &buffers.all, 1, MPI_INT64_T, op, handle, request);
               })
        .all;
  }

  void broadcast_piece(std::string& bytes, std::size_t begin, int root) const {
    const std::size_t count = std::min(kMaxPieceBytes, bytes.size() - begin);
    const std::string piece =
        run("broadcast", bytes.substr(begin, count), [&](std::string& buffer, MPI_Request* request) {
          return MPI_Ibcast(buffer.data(), static_cast<int>(buffer.size()), MPI_CHAR, root, handle, request);
        });
    bytes.replace(begin, count, piece);
  }
};

namespace {

void find_neighbours(Comm::Impl& impl) {
  MPI_Comm node = MPI_COMM_NULL;
  check(MPI_Comm_split_type(impl.handle, MPI_COMM_TYPE_SHARED, impl.rank, MPI_INFO_NULL, &node),
        impl.at("MPI_Comm_split_type"));
  MPI_Comm_rank(node, &impl.local_rank);
  MPI_Comm_size(node, &impl.local_size);
  check(MPI_Comm_free(&node), impl.at("MPI_Comm_free"));
  impl.num_nodes = static_cast<int>(impl.reduce("counting nodes", impl.local_rank == 0 ? 1 : 0, MPI_SUM));
}

/// Takes ownership of `handle`.
Comm own(MPI_Comm handle, std::shared_ptr<Job> job) {
  auto impl = std::make_shared<Comm::Impl>();
  impl->handle = handle;
  impl->job = std::move(job);
  impl->without_mpi = false;
  check(MPI_Comm_set_errhandler(handle, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  MPI_Comm_rank(handle, &impl->rank);
  MPI_Comm_size(handle, &impl->size);
  find_neighbours(*impl);
  return Comm(std::move(impl));
}

std::string merge_errors(const std::vector<std::string>& texts) {
  std::map<std::string_view, std::vector<int>> ranks_by_text;
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    if (!texts[rank].empty()) ranks_by_text[texts[rank]].push_back(static_cast<int>(rank));
  }
  if (ranks_by_text.size() == 1 && ranks_by_text.begin()->second.size() == texts.size()) {
    return std::string(ranks_by_text.begin()->first);  // all agree: no need to name anyone
  }
  std::string message;
  for (const auto& [text, ranks] : ranks_by_text) {
    message += fmt::format("{}{}: {}", message.empty() ? "" : "\n", rank_ranges(ranks), text);
  }
  return message;
}

}  // namespace

Comm Comm::self() { return Comm(std::make_shared<Impl>()); }

Comm Comm::duplicate_of(int fortran_handle) {
  require_mpi_thread("duplicating a communicator");
  MPI_Comm duplicate = MPI_COMM_NULL;
  check(MPI_Comm_dup(MPI_Comm_f2c(fortran_handle), &duplicate), "MPI_Comm_dup");
  return own(duplicate, std::make_shared<Job>());
}

int Comm::rank() const noexcept { return impl_->rank; }
int Comm::size() const noexcept { return impl_->size; }
int Comm::local_rank() const noexcept { return impl_->local_rank; }
int Comm::local_size() const noexcept { return impl_->local_size; }
int Comm::num_nodes() const noexcept { return impl_->num_nodes; }

void Comm::barrier() const {
  if (!impl_->communicates("barrier")) return;
  impl_->run("barrier", 0, [&](int&, MPI_Request* request) { return MPI_Ibarrier(impl_->handle, request); });
}

std::string Comm::broadcast(std::string bytes, int root) const {
  expects(root >= 0 && root < size(),
          fmt::format("broadcast: root {} is not a rank of a world of {}", root, size()));
  if (!impl_->communicates("broadcast")) return bytes;
  const auto length = impl_->run("broadcast", static_cast<std::int64_t>(bytes.size()),
                                 [&](auto& buffer, MPI_Request* request) {
                                   return MPI_Ibcast(&buffer, 1, MPI_INT64_T, root, impl_->handle, request);
                                 });
  bytes.resize(static_cast<std::size_t>(length));
  for (std::size_t begin = 0; begin < bytes.size(); begin += kMaxPieceBytes)
    impl_->broadcast_piece(bytes, begin, root);
  return bytes;
}

std::vector<std::string> Comm::all_gather(const std::string& bytes) const {
  if (!impl_->communicates("all_gather")) return {bytes};
  const auto ranks = static_cast<std::size_t>(size());
  const std::int64_t total = all_sum(static_cast<std::int64_t>(bytes.size()));
  if (total > INT_MAX)
    throw CommError(fmt::format("{}: {} bytes in all, the limit is 2 GiB", impl_->at("all_gather"), total));

  struct Counts {
    int mine;
    std::vector<int> all;
  };
  const auto counts = impl_
                          ->run("all_gather", Counts{static_cast<int>(bytes.size()), std::vector<int>(ranks)},
                                [&](Counts& buffers, MPI_Request* request) {
                                  return MPI_Iallgather(&buffers.mine, 1, MPI_INT, buffers.all.data(), 1,
                                                        MPI_INT, impl_->handle, request);
                                })
                          .all;
  struct Texts {
    std::string mine, all;
    std::vector<int> counts, offsets;
  };
  Texts texts{bytes, std::string(static_cast<std::size_t>(total), '\0'), counts, std::vector<int>(ranks, 0)};
  std::exclusive_scan(counts.begin(), counts.end(), texts.offsets.begin(), 0);
  texts = impl_->run("all_gather", std::move(texts), [&](Texts& buffers, MPI_Request* request) {
    return MPI_Iallgatherv(buffers.mine.data(), static_cast<int>(buffers.mine.size()), MPI_CHAR,
                           buffers.all.data(), buffers.counts.data(), buffers.offsets.data(), MPI_CHAR,
                           impl_->handle, request);
  });
  std::vector<std::string> result(ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    result[rank] = texts.all.substr(static_cast<std::size_t>(texts.offsets[rank]),
                                    static_cast<std::size_t>(texts.counts[rank]));
  }
  return result;
}

std::int64_t Comm::all_max(std::int64_t value) const { return impl_->reduce("all_max", value, MPI_MAX); }
std::int64_t Comm::all_min(std::int64_t value) const { return impl_->reduce("all_min", value, MPI_MIN); }
std::int64_t Comm::all_sum(std::int64_t value) const { return impl_->reduce("all_sum", value, MPI_SUM); }

void Comm::agree_or_throw(const std::string& error_text) const {
  if (all_max(error_text.empty() ? 0 : 1) == 0) return;
  throw DataError(merge_errors(all_gather(error_text)));
}

Comm Comm::split(int color, int key) const {
  expects(color >= 0, fmt::format("split: colour {} is negative; colours are 0 or above", color));
  if (!impl_->communicates("split")) return self();
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split(impl_->handle, color, key, &part), impl_->at("split"));
  return own(part, impl_->job);
}

Comm Comm::duplicate() const {
  if (!impl_->communicates("duplicate")) return self();
  MPI_Comm copy = MPI_COMM_NULL;
  check(MPI_Comm_dup(impl_->handle, &copy), impl_->at("duplicate"));
  return own(copy, impl_->job);
}

void Comm::close() {
  if (impl_->closed) return;
  if (impl_->communicates("close") && !failed()) check(MPI_Comm_free(&impl_->handle), impl_->at("close"));
  impl_->closed = true;
}

void Comm::set_timeout(std::chrono::milliseconds timeout) noexcept { impl_->job->timeout = timeout; }
void Comm::mark_failed() noexcept { impl_->job->failed = true; }
bool Comm::failed() const noexcept { return impl_->job->failed; }
bool Comm::has_mpi() const noexcept { return !impl_->without_mpi; }

int Comm::fortran_handle() const {
  if (impl_->without_mpi || impl_->closed) {
    throw CommError(
        "there is no MPI communicator here: the process was started without mpirun, or the communicator was "
        "closed");
  }
  return MPI_Comm_c2f(impl_->handle);
}

}  // namespace bunchtrain::mpi
