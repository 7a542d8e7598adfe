// SPDX-License-Identifier: Apache-2.0
// Tensors over nonblocking MPI. MPI makes progress only inside its calls: whoever polls a Work pumps all of them.

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "abandon.hpp"
#include "backend.hpp"
#include "bunchtrain/core/error.hpp"
#include "handles.hpp"
#include "message_tags.hpp"
#include "native_types.hpp"
#include "ring_all_reduce.hpp"
#include "shared_all_reduce.hpp"

namespace bunchtrain::comm::detail {
namespace {

/// A piece of an operation: the counts of MPI are ints.
struct Piece {
  std::int64_t offset;
  int count;
};

std::vector<Piece> cut(std::int64_t numel, std::int64_t max_elements) {
  std::vector<Piece> pieces;
  for (std::int64_t offset = 0; offset < numel; offset += max_elements) {
    pieces.push_back({offset, static_cast<int>(std::min(max_elements, numel - offset))});
  }
  return pieces;
}

/// Memory that MPI can use for a tensor: its own on the CPU, else a pinned copy. @post dense
/// elements in memory order
at::Tensor host_memory(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.device().is_cpu()) return tensor;
  return at::empty({tensor.numel()}, tensor.options().device(at::kCPU).pinned_memory(true));
}

bool overlap(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined()) return false;
  const auto* first = static_cast<const std::byte*>(a.const_data_ptr());
  const auto* second = static_cast<const std::byte*>(b.const_data_ptr());
  return first < second + b.nbytes() && second < first + a.nbytes();
}

/// What MPI reads and writes for `user`. GPU tensors are copied to the host, waiting for the current stream:
/// MPI must see finished data, and collectives must be issued in one order. Where MPI forbids that input and
/// output overlap, the output gets memory of its own.
Buffers stage_in(const Call& call, const Buffers& user) {
  Buffers host{.output = host_memory(user.output), .input = {}};
  host.input = user.input.is_same(user.output) ? host.output : host_memory(user.input);
  if (user.input.defined() && !user.input.device().is_cpu()) flat(host.input).copy_(flat(user.input));
  const bool may_overlap = host.input.is_same(host.output) || call.operation == Operation::all_gather;
  if (!may_overlap && overlap(host.output, host.input))
    host.output = at::empty({user.output.numel()}, user.output.options());
  return host;
}

/// Copies a result that is not in the user's memory yet.
void stage_out(const Buffers& host, const Buffers& user) {
  if (!user.output.defined() || host.output.is_same(user.output)) return;
  flat(user.output).copy_(flat(host.output));
}

class MpiInFlight : public InFlight {
 public:
  MpiInFlight(const Call& call, const Buffers& buffers)
      : call_(call), name_(describe(call)), user_(buffers), host_(stage_in(call, buffers)) {}

  std::byte* output(std::int64_t element) const { return bytes(host_.output, element); }
  std::byte* input(std::int64_t element) const { return bytes(host_.input, element); }
  /// An all_gather whose input already lies in its place in the output.
  bool is_in_place() const { return overlap(host_.output, host_.input); }

  MPI_Request* next_request() { return &requests_.emplace_back(MPI_REQUEST_NULL); }
  void keep(UniqueDatatype type) { types_.push_back(std::move(type)); }
  void expect_elements(int count) { expected_.push_back(count); }
  /// A message from the peer that is this one but for its size ends the waiting.
  void watch(MPI_Comm comm, int tag, const MessageTags& tags) { watched_ = {comm, tag, &tags}; }

  bool poll() override {
    statuses_.resize(requests_.size());
    if (!test_all(requests_, statuses_, name_)) {
      if (watched_.tags != nullptr) look_for_another_size();
      return false;
    }
    check_received();
    stage_out(host_, user_);
    return true;
  }

 private:
  static std::byte* bytes(const at::Tensor& tensor, std::int64_t element) {
    return static_cast<std::byte*>(tensor.mutable_data_ptr()) +
           element * static_cast<std::int64_t>(tensor.element_size());
  }

  void check_received() const {
    for (std::size_t piece = 0; piece < expected_.size(); ++piece) {
      int received = 0;
      MPI_Get_count(&statuses_[piece], native_type(call_.dtype), &received);
      if (received != expected_[piece]) throw other_size(received);
    }
  }

  void look_for_another_size() const {
    int came = 0, received = 0;
    MPI_Status status;
    mpi::check(MPI_Iprobe(call_.root, MPI_ANY_TAG, watched_.comm, &came, &status), name_);
    if (came == 0 || !watched_.tags->differ_in_size(status.MPI_TAG, watched_.tag)) return;
    MPI_Get_count(&status, native_type(call_.dtype), &received);
    throw other_size(received);
  }

  /// @param received elements of a message, not all where it has several
  CommError other_size(int received) const {
    return CommError(fmt::format(
        "{}: the sender's tensor has another size; a message of {} elements came: let both sides agree",
        name_, received));
  }

  struct Watched {
    MPI_Comm comm = MPI_COMM_NULL;
    int tag = 0;
    const MessageTags* tags = nullptr;  ///< null: none is looked for
  };

  Call call_;
  std::string name_;  // made once: polls are frequent
  Buffers user_;
  Buffers host_;
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<UniqueDatatype> types_;
  std::vector<int> expected_;
  Watched watched_;
};

/// A large all_reduce.
class RingInFlight : public InFlight {
 public:
  RingInFlight(const Call& call, const Buffers& buffers, const Ring& ring)
      : user_(buffers),
        host_(stage_in(call, buffers)),
        ring_(ring, static_cast<std::byte*>(host_.output.mutable_data_ptr()), call.numel, describe(call)) {}

  void start() { ring_.start(); }
  bool poll() override {
    if (!ring_.progress()) return false;
    stage_out(host_, user_);
    return true;
  }

 private:
  Buffers user_;
  Buffers host_;
  RingAllReduce ring_;
};

/// A large all_reduce of ranks on one node.
class SharedInFlight : public InFlight {
 public:
  SharedInFlight(const Call& call, const Buffers& buffers, const Reduction& reduction,
                 SharedAllReduce& reducer)
      : user_(buffers),
        host_(stage_in(call, buffers)),
        reducer_(&reducer),
        operation_(
            reducer.start(reduction, static_cast<std::byte*>(host_.output.mutable_data_ptr()), call.numel)) {}

  bool poll() override {
    reducer_->progress();
    if (!operation_->done()) return false;
    stage_out(host_, user_);
    return true;
  }

 private:
  Buffers user_;
  Buffers host_;
  SharedAllReduce* reducer_;
  std::shared_ptr<SharedAllReduce::Operation> operation_;
};

/// Part of an operation may have been started when another part fails: its buffers stay MPI's.
template <class Flight, class Action>
void abandon_on_error(std::unique_ptr<Flight>& flight, Action&& action) {
  try {
    action();
  } catch (const CommError&) {
    abandon(std::move(flight));
    throw;
  }
}

class MpiBackend : public CollectiveBackend {
 public:
  MpiBackend(const mpi::Comm& comm, const CommunicatorOptions& options)
      : comm_(duplicate_native(comm)),
        ring_comm_(duplicate_native(comm)),
        tags_(comm_),
        rank_(comm.rank()),
        size_(comm.size()),
        max_elements_(options.max_message_elements),
        shared_(options.shared_memory ? SharedAllReduce::create(comm_) : nullptr) {}

  std::unique_ptr<InFlight> start(const Call& call, const Buffers& buffers) override {
    if (call.numel == 0 && !call.is_point_to_point()) return nullptr;
    if (shared_ && is_all_reduce_of(call, SharedAllReduce::kMinBytes)) return start_shared(call, buffers);
    if (is_all_reduce_of(call, RingAllReduce::kMinBytes)) return start_ring(call, buffers);
    auto flight = std::make_unique<MpiInFlight>(call, buffers);
    abandon_on_error(flight, [&] { issue(call, *flight); });
    return flight;
  }

  void close() override {
    if (shared_) shared_->close();
    mpi::check(MPI_Comm_free(&comm_), "MPI_Comm_free");
    mpi::check(MPI_Comm_free(&ring_comm_), "MPI_Comm_free");
  }

 private:
  static std::int64_t bytes_of(const Call& call) {
    return call.numel * static_cast<std::int64_t>(c10::elementSize(call.dtype));
  }

  bool is_all_reduce_of(const Call& call, std::int64_t min_bytes) const {
    return call.operation == Operation::all_reduce && size_ > 1 && bytes_of(call) >= min_bytes;
  }

  std::unique_ptr<InFlight> start_shared(const Call& call, const Buffers& buffers) {
    const Reduction reduction{.type = native_type(call.dtype),
                              .op = ops_.get(call.op, call.dtype),
                              .element_bytes = c10::elementSize(call.dtype),
                              .adds_floats = call.dtype == at::kFloat && call.op == ReduceOp::sum};
    return std::make_unique<SharedInFlight>(call, buffers, reduction, *shared_);
  }

  std::unique_ptr<InFlight> start_ring(const Call& call, const Buffers& buffers) {
    const int first_tag = static_cast<int>(rings_++ % kRingTags) * RingAllReduce::kSlots;
    auto flight = std::make_unique<RingInFlight>(call, buffers,
                                                 Ring{.comm = ring_comm_,
                                                      .rank = rank_,
                                                      .size = size_,
                                                      .first_tag = first_tag,
                                                      .type = native_type(call.dtype),
                                                      .op = ops_.get(call.op, call.dtype),
                                                      .element_bytes = c10::elementSize(call.dtype)});
    abandon_on_error(flight, [&] { flight->start(); });
    return flight;
  }

  void issue(const Call& call, MpiInFlight& flight) {
    switch (call.operation) {
      case Operation::all_reduce:
        return all_reduce(call, flight);
      case Operation::reduce_scatter:
        return reduce_scatter(call, flight);
      case Operation::all_gather:
        return all_gather(call, flight);
      case Operation::broadcast:
        return broadcast(call, flight);
      case Operation::all_to_all:
        return all_to_all(call, flight);
      case Operation::send:
        return send(call, flight);
      case Operation::receive:
        return receive(call, flight);
      default:
        throw CommError("not an operation on tensors: " + describe(call));
    }
  }

  void all_reduce(const Call& call, MpiInFlight& flight) {
    const MPI_Op op = ops_.get(call.op, call.dtype);
    for (const auto& [offset, count] : cut(call.numel, max_elements_)) {
      mpi::check(MPI_Iallreduce(MPI_IN_PLACE, flight.output(offset), count, native_type(call.dtype), op,
                                comm_, flight.next_request()),
                 describe(call));
    }
  }

  void reduce_scatter(const Call& call, MpiInFlight& flight) {
    const MPI_Op op = ops_.get(call.op, call.dtype);
    const MPI_Datatype type = native_type(call.dtype);
    const std::int64_t block = call.numel / size_;
    if (call.numel <= max_elements_) {  // the sum of all blocks: Open MPI counts it in an int
      mpi::check(MPI_Ireduce_scatter_block(flight.input(0), flight.output(0), static_cast<int>(block), type,
                                           op, comm_, flight.next_request()),
                 describe(call));
      return;
    }
    // MPI cannot reduce_scatter pieces of blocks (they are apart in memory), but it can
    // reduce each to its owner.
    for (int owner = 0; owner < size_; ++owner) {
      for (const auto& [offset, count] : cut(block, max_elements_)) {
        mpi::check(MPI_Ireduce(flight.input(owner * block + offset),
                               rank_ == owner ? flight.output(offset) : nullptr, count, type, op, owner,
                               comm_, flight.next_request()),
                   describe(call));
      }
    }
  }

  void all_gather(const Call& call, MpiInFlight& flight) {
    const MPI_Datatype type = native_type(call.dtype);
    for (const auto& [offset, count] : cut(call.numel, max_elements_)) {
      auto block = make_block_type(type, count, call.numel);
      const void* mine = flight.is_in_place() ? MPI_IN_PLACE : flight.input(offset);
      mpi::check(MPI_Iallgather(mine, count, type, flight.output(offset), 1, block.get(), comm_,
                                flight.next_request()),
                 describe(call));
      flight.keep(std::move(block));
    }
  }

  void broadcast(const Call& call, MpiInFlight& flight) {
    for (const auto& [offset, count] : cut(call.numel, max_elements_)) {
      mpi::check(MPI_Ibcast(flight.output(offset), count, native_type(call.dtype), call.root, comm_,
                            flight.next_request()),
                 describe(call));
    }
  }

  void all_to_all(const Call& call, MpiInFlight& flight) {
    const std::int64_t block = call.numel / size_;
    for (const auto& [offset, count] : cut(block, max_elements_)) {
      auto type = make_block_type(native_type(call.dtype), count, block);
      mpi::check(MPI_Ialltoall(flight.input(offset), 1, type.get(), flight.output(offset), 1, type.get(),
                               comm_, flight.next_request()),
                 describe(call));
      flight.keep(std::move(type));
    }
  }

  /// At least one piece: an empty tensor is a message too.
  std::vector<Piece> messages(const Call& call) const {
    return call.numel == 0 ? std::vector<Piece>{{0, 0}} : cut(call.numel, max_elements_);
  }

  void send(const Call& call, MpiInFlight& flight) {
    const int tag = tags_.next_sent(call.root, call.tag, bytes_of(call));
    for (const auto& [offset, count] : messages(call)) {
      mpi::check(MPI_Isend(flight.input(offset), count, native_type(call.dtype), call.root, tag, comm_,
                           flight.next_request()),
                 describe(call));
    }
  }

  void receive(const Call& call, MpiInFlight& flight) {
    const int tag = tags_.next_received(call.root, call.tag, bytes_of(call));
    flight.watch(comm_, tag, tags_);
    for (const auto& [offset, count] : messages(call)) {
      mpi::check(MPI_Irecv(flight.output(offset), count, native_type(call.dtype), call.root, tag, comm_,
                           flight.next_request()),
                 describe(call));
      flight.expect_elements(count);
    }
  }

  static constexpr std::uint64_t kRingTags = 4096;  // rings in flight whose messages are told apart

  MPI_Comm comm_;  // freed by close() only: that is collective
  MPI_Comm ring_comm_;
  MessageTags tags_;
  std::uint64_t rings_ = 0;
  int rank_;
  int size_;
  std::int64_t max_elements_;
  std::unique_ptr<SharedAllReduce> shared_;
  ReductionOps ops_;
};

}  // namespace

std::unique_ptr<CollectiveBackend> create_mpi_backend(const mpi::Comm& comm,
                                                      const CommunicatorOptions& options) {
  return std::make_unique<MpiBackend>(comm, options);
}

}  // namespace bunchtrain::comm::detail
