// SPDX-License-Identifier: Apache-2.0
#include "shared_all_reduce.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "bunchtrain/mpi/detail/check.hpp"
#include "streaming.hpp"

namespace bunchtrain::comm::detail {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kLargestChunk = 256 * 1024, kSmallestChunk = 16 * 1024;
constexpr std::size_t kSegmentBytes = 512 * 1024;

std::size_t chunk_bytes_for(int size) {
  const std::size_t share = kSegmentBytes / static_cast<std::size_t>(size) / kLine * kLine;
  return std::clamp(share, kSmallestChunk, kLargestChunk);
}

int ranks_of_node(MPI_Comm comm, int rank) {
  MPI_Comm node = MPI_COMM_NULL;
  mpi::check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node),
             "MPI_Comm_split_type");
  int size = 0;
  mpi::check(MPI_Comm_size(node, &size), "MPI_Comm_size");
  mpi::check(MPI_Comm_free(&node), "MPI_Comm_free");
  return size;
}

bool all_agree(MPI_Comm comm, bool mine) {
  int agreed = mine ? 1 : 0;
  mpi::check(MPI_Allreduce(MPI_IN_PLACE, &agreed, 1, MPI_INT, MPI_MIN, comm), "MPI_Allreduce");
  return agreed == 1;
}

std::byte* aligned(void* memory) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  return static_cast<std::byte*>(memory) + (kLine - address % kLine) % kLine;
}

}  // namespace

std::unique_ptr<SharedAllReduce> SharedAllReduce::create(MPI_Comm comm) {
  int rank = 0, size = 0;
  mpi::check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  mpi::check(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  if (size == 1 || !all_agree(comm, ranks_of_node(comm, rank) == size)) return nullptr;
  std::unique_ptr<SharedAllReduce> made(new SharedAllReduce(comm, rank, size, chunk_bytes_for(size)));
  if (!all_agree(comm, made->map())) return nullptr;
  return made;
}

std::size_t SharedAllReduce::bytes_per_rank(int size, std::size_t chunk_bytes) {
  return kLine + sizeof(Counters) + static_cast<std::size_t>(kSlots * size) * chunk_bytes;
}

/// False if the system has no such memory left (small /dev/shm of a container).
bool SharedAllReduce::map() {
  void* mine = nullptr;
  const auto bytes = static_cast<MPI_Aint>(bytes_per_rank(size_, chunk_bytes_));
  if (MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, comm_, &mine, &window_) != MPI_SUCCESS) return false;
  for (int rank = 0; rank < size_; ++rank) {
    MPI_Aint size = 0;
    int unit = 0;
    void* base = nullptr;
    mpi::check(MPI_Win_shared_query(window_, rank, &size, &unit, &base), "MPI_Win_shared_query");
    memory_.push_back(aligned(base));
  }
  // Touched by its owner first: its pages are near it.
  std::memset(static_cast<void*>(memory_[static_cast<std::size_t>(rank_)]), 0,
              static_cast<std::size_t>(bytes) - kLine);
  new (memory_[static_cast<std::size_t>(rank_)]) Counters{};
  for (int slot = 1; slot <= kSlots; ++slot) slots_.push_back({.segment = slot});
  return true;
}

void SharedAllReduce::close() { mpi::check(MPI_Win_free(&window_), "MPI_Win_free"); }

std::shared_ptr<SharedAllReduce::Operation> SharedAllReduce::start(const Reduction& reduction,
                                                                   std::byte* data, std::int64_t numel) {
  std::shared_ptr<Operation> operation(new Operation(reduction, data, numel));
  const std::int64_t length = segment_elements(*operation);
  operation->first_ = next_segment_;
  operation->left_ = (numel + length - 1) / length;
  next_segment_ += operation->left_;
  if (!operation->done()) operations_.push_back(operation);
  progress();
  return operation;
}

void SharedAllReduce::progress() {
  for (bool moved = true; moved;) {
    moved = false;
    for (Slot& slot : slots_) moved = advance(slot) || moved;
  }
  while (!operations_.empty() && operations_.front()->done()) operations_.pop_front();
}

/// One stage of a slot's segment; false if it has to wait for others, or if there is no segment yet.
bool SharedAllReduce::advance(Slot& slot) {
  Operation* operation = operation_of(slot.segment);
  if (operation == nullptr) return false;
  const std::int64_t place = slot.segment % kSlots;
  const auto tell = [&](Counter(&counter)[kSlots]) {
    counter[place].value.store(slot.segment, std::memory_order_release);
  };
  switch (slot.stage) {
    case Stage::put:
      if (!all_reached(&Counters::taken, place, slot.segment - kSlots)) return false;
      put(*operation, slot);
      tell(counters(rank_).put);
      slot.stage = Stage::combine;
      return true;
    case Stage::combine:
      if (!all_reached(&Counters::put, place, slot.segment)) return false;
      combine(*operation, slot);
      tell(counters(rank_).combined);
      slot.stage = Stage::take;
      return true;
    case Stage::take:
      if (!all_reached(&Counters::combined, place, slot.segment)) return false;
      take(*operation, slot);
      tell(counters(rank_).taken);
      slot = {.segment = slot.segment + kSlots};
      --operation->left_;
      return true;
  }
  return false;
}

void SharedAllReduce::put(const Operation& operation, const Slot& slot) {
  for (int owner = 0; owner < size_; ++owner) {
    if (owner == rank_) continue;
    const Chunk theirs = chunk(operation, slot.segment, owner);
    stream_copy(area(rank_, slot.segment, owner), theirs.data, theirs.bytes);
  }
  finish_streams();
}

void SharedAllReduce::combine(const Operation& operation, const Slot& slot) {
  const Chunk mine = chunk(operation, slot.segment, rank_);
  const Reduction& reduction = operation.reduction_;
  std::byte* result = area(rank_, slot.segment, rank_);
  for (int step = 1; step < size_; ++step) {
    const std::byte* theirs = area((rank_ + step) % size_, slot.segment, rank_);
    if (reduction.adds_floats && step == size_ - 1) {
      add_and_stream(reinterpret_cast<float*>(mine.data), reinterpret_cast<const float*>(theirs),
                     reinterpret_cast<float*>(result), mine.bytes / sizeof(float));
    } else {
      mpi::check(MPI_Reduce_local(theirs, mine.data, static_cast<int>(mine.bytes / reduction.element_bytes),
                                  reduction.type, reduction.op),
                 "MPI_Reduce_local");
    }
  }
  if (!reduction.adds_floats) stream_copy(result, mine.data, mine.bytes);
  finish_streams();
}

void SharedAllReduce::take(const Operation& operation, const Slot& slot) {
  for (int owner = 0; owner < size_; ++owner) {
    if (owner == rank_) continue;
    const Chunk theirs = chunk(operation, slot.segment, owner);
    std::memcpy(theirs.data, area(owner, slot.segment, owner), theirs.bytes);
  }
}

SharedAllReduce::Operation* SharedAllReduce::operation_of(std::int64_t segment) {
  if (segment >= next_segment_) return nullptr;
  const auto after =
      std::ranges::upper_bound(operations_, segment, {}, [](const auto& one) { return one->first_; });
  return std::prev(after)->get();
}

std::int64_t SharedAllReduce::segment_elements(const Operation& operation) const {
  return static_cast<std::int64_t>(chunk_bytes_ / operation.reduction_.element_bytes) * size_;
}

/// The first chunks of a segment are the longest.
SharedAllReduce::Chunk SharedAllReduce::chunk(const Operation& operation, std::int64_t segment,
                                              int owner) const {
  const std::int64_t begin = (segment - operation.first_) * segment_elements(operation);
  const std::int64_t numel = std::min(segment_elements(operation), operation.numel_ - begin);
  const std::int64_t length = (numel + size_ - 1) / size_;
  const std::int64_t first = std::min(owner * length, numel), last = std::min(first + length, numel);
  const std::size_t bytes = operation.reduction_.element_bytes;
  return {operation.data_ + static_cast<std::size_t>(begin + first) * bytes,
          static_cast<std::size_t>(last - first) * bytes};
}

SharedAllReduce::Counters& SharedAllReduce::counters(int rank) const {
  return *std::launder(reinterpret_cast<Counters*>(memory_[static_cast<std::size_t>(rank)]));
}

/// Of rank `rank`: what it puts for `owner`, or its result.
std::byte* SharedAllReduce::area(int rank, std::int64_t segment, int owner) const {
  const auto place = static_cast<std::size_t>((segment % kSlots) * size_ + owner);
  return memory_[static_cast<std::size_t>(rank)] + sizeof(Counters) + place * chunk_bytes_;
}

bool SharedAllReduce::all_reached(Counter (Counters::*stage)[kSlots], std::int64_t slot,
                                  std::int64_t segment) const {
  for (int rank = 0; rank < size_; ++rank)
    if ((counters(rank).*stage)[slot].value.load(std::memory_order_acquire) < segment) return false;
  return true;
}

}  // namespace bunchtrain::comm::detail
