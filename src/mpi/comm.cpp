// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/mpi/comm.hpp"

#include <algorithm>
#include <climits>
#include <memory>
#include <numeric>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "agreed_error.hpp"
#include "bunchtrain/mpi/detail/rank_ranges.hpp"
#include "comm_impl.hpp"
#include "patience.hpp"

namespace bunchtrain::mpi {
namespace {

constexpr std::size_t kMaxPieceBytes = std::size_t{1} << 30;  // MPI counts are ints

struct Reduction {
  std::int64_t mine = 0;
  std::int64_t all = 0;
};

/// From the processes of all ranks, in rank order. Nodes are running kernels.
Neighbours find_neighbours(std::vector<ProcessIdentity> processes, int rank) {
  Neighbours found{.processes = std::move(processes), .local_size = 0};
  const std::string& mine = found.processes[static_cast<std::size_t>(rank)].machine;
  std::set<std::string_view> machines;
  for (std::size_t other = 0; other < found.processes.size(); ++other) {
    const std::string& machine = found.processes[other].machine;
    machines.insert(machine);
    if (machine != mine) continue;
    ++found.local_size;
    if (other < static_cast<std::size_t>(rank)) ++found.local_rank;
  }
  found.num_nodes = static_cast<int>(machines.size());
  return found;
}

}  // namespace

void Job::fail(const std::string& reason) noexcept {
  failed = true;
  try {
    if (on_failure) std::exchange(on_failure, {})(reason);
  } catch (const std::exception&) {
    // The failure itself is what matters.
  }
}

void Comm::Impl::finish(MPI_Request* request, std::string_view operation) {
  Patience patience(*this, operation);
  for (;;) {
    int done = 0;
    check(MPI_Test(request, &done, MPI_STATUS_IGNORE), at(operation));
    if (done != 0) return;
    patience.pass();
  }
}

std::int64_t Comm::Impl::reduce(std::string_view operation, std::int64_t value, MPI_Op op) {
  if (!communicates(operation)) return value;
  return run(operation, Reduction{.mine = value},
             [&](Reduction& buffers, MPI_Request* request) {
               return MPI_Iallreduce(&buffers.mine, &buffers.all, 1, MPI_INT64_T, op, handle, request);
             })
      .all;
}

void Comm::Impl::broadcast_piece(std::string& bytes, std::size_t begin, int root) {
  const std::size_t count = std::min(kMaxPieceBytes, bytes.size() - begin);
  const std::string piece =
      run("broadcast", bytes.substr(begin, count), [&](std::string& buffer, MPI_Request* request) {
        return MPI_Ibcast(buffer.data(), static_cast<int>(buffer.size()), MPI_CHAR, root, handle, request);
      });
  bytes.replace(begin, count, piece);
}

MPI_Comm Comm::Impl::duplicate_native(Impl& impl, std::string_view operation) {
  return impl.run(operation, MPI_Comm(MPI_COMM_NULL), [&](MPI_Comm& copy, MPI_Request* request) {
    return MPI_Comm_idup(impl.handle, &copy, request);
  });
}

std::string Comm::Impl::describe_ranks(std::span<const int> ranks) const {
  if (ranks.size() > 8) return rank_ranges(ranks);  // one by one they would fill the screen
  std::string text;
  for (const int rank : ranks) {
    const auto& process = neighbours.processes[static_cast<std::size_t>(rank)];
    text += fmt::format("{}rank {}", text.empty() ? "" : ", ", rank);
    if (process.pid != 0) text += fmt::format(" ({})", describe(process, state_of(process)));
  }
  return text;
}

Comm Comm::Impl::own(MPI_Comm handle, std::shared_ptr<Job> job, std::optional<Neighbours> neighbours) {
  auto impl = std::make_shared<Comm::Impl>();
  impl->handle = handle;
  impl->job = std::move(job);
  impl->without_mpi = false;
  check(MPI_Comm_set_errhandler(handle, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  MPI_Comm_rank(handle, &impl->rank);
  MPI_Comm_size(handle, &impl->size);
  impl->neighbours.processes.assign(static_cast<std::size_t>(impl->size), {});  // told by the first gather
  if (impl->size > 1) impl->notices.emplace(handle, impl->rank, impl->size);
  Comm comm(impl);
  if (!neighbours) {
    std::vector<ProcessIdentity> processes;
    for (const std::string& line : comm.all_gather(this_process().to_line()))
      processes.push_back(ProcessIdentity::from_line(line));
    neighbours = find_neighbours(std::move(processes), impl->rank);
  }
  impl->neighbours = std::move(*neighbours);
  return comm;
}

Comm Comm::self() { return Comm(std::make_shared<Impl>()); }

Comm Comm::duplicate_of(int fortran_handle, std::chrono::milliseconds timeout) {
  require_mpi_thread("duplicating a communicator");
  Impl original;  // borrows the application's handle for one collective
  original.handle = MPI_Comm_f2c(fortran_handle);
  MPI_Comm_rank(original.handle, &original.rank);
  MPI_Comm_size(original.handle, &original.size);
  original.job->timeout = timeout;
  return Impl::own(Impl::duplicate_native(original, "duplicating the application's communicator"),
                   original.job);
}

int Comm::rank() const noexcept { return impl_->rank; }
int Comm::size() const noexcept { return impl_->size; }
int Comm::local_rank() const noexcept { return impl_->neighbours.local_rank; }
int Comm::local_size() const noexcept { return impl_->neighbours.local_size; }
int Comm::num_nodes() const noexcept { return impl_->neighbours.num_nodes; }

const ProcessIdentity& Comm::process_of(int rank) const {
  expects(rank >= 0 && rank < size(), fmt::format("rank {} is not one of a world of {}", rank, size()));
  return impl_->neighbours.processes[static_cast<std::size_t>(rank)];
}

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

void Comm::together(const std::function<void()>& action) const {
  const AgreedError mine = catch_error(action);
  if (all_max(mine.empty() ? 0 : 1) == 0) return;
  std::vector<AgreedError> errors;
  for (const std::string& line : all_gather(mine.to_bytes())) errors.push_back(AgreedError::from_bytes(line));
  throw_agreed(errors);
}

Comm Comm::split(int color, int key) const {
  expects(color >= 0, fmt::format("split: colour {} is negative; colours are 0 or above", color));
  if (!impl_->communicates("split")) return self();
  barrier();
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split(impl_->handle, color, key, &part), impl_->at("split"));
  return Impl::own(part, impl_->job);
}

Comm Comm::duplicate() const {
  if (!impl_->communicates("duplicate")) return self();
  return Impl::own(Impl::duplicate_native(*impl_, "duplicate"), impl_->job, impl_->neighbours);
}

void Comm::close() {
  if (impl_->closed) return;
  if (impl_->communicates("close") && !failed()) check(MPI_Comm_free(&impl_->handle), impl_->at("close"));
  impl_->closed = true;
}

void Comm::set_timeout(std::chrono::milliseconds timeout) noexcept { impl_->job->timeout = timeout; }
std::chrono::milliseconds Comm::timeout() const noexcept { return impl_->job->timeout; }
Phase Comm::in_phase(std::string text, Waits waits) const {
  return Phase(impl_->job->phases, std::move(text), waits);
}
std::string Comm::phase() const { return impl_->job->phases->text(); }
void Comm::on_slow_peer(std::function<void(const std::string&)> listener) {
  impl_->job->on_slow_peer = std::move(listener);
}
void Comm::on_failure(std::function<void(const std::string&)> listener) {
  impl_->job->on_failure = std::move(listener);
}
std::string Comm::last_operations() const { return impl_->job->record.tail(); }
std::string Comm::describe_ranks(std::span<const int> ranks) const { return impl_->describe_ranks(ranks); }

bool Comm::speaks_for_job(std::chrono::milliseconds patience) noexcept {
  if (!impl_->notices || impl_->closed || !may_call_mpi()) return true;
  try {
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
      impl_->notices->serve("the end after a failure", phase());
      if (impl_->notices->other_speaks()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    } while (std::chrono::steady_clock::now() < end);
    impl_->notices->tell_speaks();
  } catch (const std::exception&) {
    // Said twice is better than not at all.
  }
  return true;
}

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

int Comm::create_handle() const {
  fortran_handle();  // refuses where there is none
  const MPI_Comm copy = Impl::duplicate_native(*impl_, "duplicate");
  check(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return MPI_Comm_c2f(copy);
}

}  // namespace bunchtrain::mpi
