// SPDX-License-Identifier: Apache-2.0
#include "ring_all_reduce.hpp"

#include <algorithm>
#include <utility>

#include "bunchtrain/mpi/detail/check.hpp"
#include "handles.hpp"

namespace bunchtrain::comm::detail {
namespace {
constexpr std::int64_t kChunkBytes = 256 * 1024;
}  // namespace

RingAllReduce::RingAllReduce(const Ring& ring, std::byte* data, std::int64_t numel, std::string name)
    : ring_(ring), name_(std::move(name)), data_(data), numel_(numel), slots_(kSlots) {
  const auto chunk_elements =
      std::max<std::int64_t>(1, kChunkBytes / static_cast<std::int64_t>(ring.element_bytes));
  segment_ = chunk_elements * ring.size;
}

void RingAllReduce::start() {
  for (int slot = 0; slot < kSlots; ++slot) {
    slots_[static_cast<std::size_t>(slot)].next_segment = slot;
    start_segment(slots_[static_cast<std::size_t>(slot)], ring_.first_tag + slot);
  }
}

bool RingAllReduce::progress() {
  bool done = true;
  for (int slot = 0; slot < kSlots; ++slot) {
    if (!advance(slots_[static_cast<std::size_t>(slot)], ring_.first_tag + slot)) done = false;
  }
  return done;
}

/// True once there is nothing left to do in this slot. Segments of a slot follow one another on all ranks in
/// the same order, so that one tag per slot keeps their messages apart.
bool RingAllReduce::advance(Slot& slot, int tag) {
  while (slot.active) {
    MPI_Status statuses[2];
    if (!test_all(slot.requests, statuses, name_)) return false;
    if (slot.step < ring_.size - 1) {
      const Chunk mine = chunk(slot, ring_.rank - slot.step - 1);
      mpi::check(MPI_Reduce_local(slot.incoming.get(), mine.data, mine.count, ring_.type, ring_.op), name_);
    }
    if (++slot.step < last_step()) {
      start_step(slot, tag);
    } else {
      start_segment(slot, tag);
    }
  }
  return true;
}

void RingAllReduce::start_segment(Slot& slot, int tag) {
  const std::int64_t begin = slot.next_segment * segment_;
  slot.numel = std::min(segment_, numel_ - begin);
  slot.active = slot.numel > 0;
  if (!slot.active) return;
  slot.data = data_ + static_cast<std::size_t>(begin) * ring_.element_bytes;
  slot.step = 0;
  slot.next_segment += kSlots;
  if (!slot.incoming) {
    slot.incoming = std::make_unique_for_overwrite<std::byte[]>(
        static_cast<std::size_t>(chunk(slot, 0).count) * ring_.element_bytes);
  }
  start_step(slot, tag);
}

void RingAllReduce::start_step(Slot& slot, int tag) {
  const int next = (ring_.rank + 1) % ring_.size;
  const int previous = (ring_.rank + ring_.size - 1) % ring_.size;
  const bool adding = slot.step < ring_.size - 1;
  // While adding, the chunk received in one step is sent in the next; then the sums follow the same way.
  const int spread = slot.step - (ring_.size - 1);
  const Chunk out = chunk(slot, adding ? ring_.rank - slot.step : ring_.rank + 1 - spread);
  const Chunk in = chunk(slot, adding ? ring_.rank - slot.step - 1 : ring_.rank - spread);
  mpi::check(MPI_Irecv(adding ? slot.incoming.get() : in.data, in.count, ring_.type, previous, tag,
                       ring_.comm, &slot.requests[0]),
             name_);
  mpi::check(MPI_Isend(out.data, out.count, ring_.type, next, tag, ring_.comm, &slot.requests[1]), name_);
}

/// The `index`-th of `size` chunks of a segment, `index` taken modulo the ranks. The
/// first ones are the longest.
RingAllReduce::Chunk RingAllReduce::chunk(const Slot& slot, int index) const {
  const std::int64_t number = (index % ring_.size + ring_.size) % ring_.size;
  const std::int64_t length = (slot.numel + ring_.size - 1) / ring_.size;
  const std::int64_t begin = std::min(number * length, slot.numel);
  const std::int64_t end = std::min(begin + length, slot.numel);
  return {slot.data + static_cast<std::size_t>(begin) * ring_.element_bytes, static_cast<int>(end - begin)};
}

}  // namespace bunchtrain::comm::detail
