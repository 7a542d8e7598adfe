// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A large all_reduce of ranks on one node, through memory that they share.

#include <mpi.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace bunchtrain::comm::detail {

/// The type of the elements of an operation and how they are combined.
struct Reduction {
  MPI_Datatype type;
  MPI_Op op;
  std::size_t element_bytes;
  bool adds_floats;  ///< float32 sums, which have a loop of their own
};

/// Reduces in place. The data is cut into segments of one chunk per rank. Each rank puts the chunks of the others
/// into shared memory, combines its own chunk with what they put there for it, and takes their results: every
/// element crosses from core to core twice, and the own memory is read and written once. Messages of MPI copy at
/// least twice as often.
///
/// What others will read is written past the caches: a line that waits in another core's cache costs several times
/// a line of memory where the cores do not share a last level.
///
/// Invariant: a slot's three counters, per rank, say the last segment that was put, combined and taken there. A rank
/// puts a segment only after all others took the one before from the slot. Segments have numbers that go on over
/// all operations, which are started in the same order on all ranks: several may be under way.
///
/// A chunk is combined by its owner alone, in the order of ranks from itself on: all ranks get the same bits.
class SharedAllReduce {
 public:
  /// Below this many bytes MPI_Iallreduce is as fast.
  static constexpr std::int64_t kMinBytes = 16 * 1024;

  /// An operation under way.
  class Operation {
   public:
    bool done() const noexcept { return left_ == 0; }

   private:
    friend class SharedAllReduce;
    Operation(const Reduction& reduction, std::byte* data, std::int64_t numel)
        : reduction_(reduction), data_(data), numel_(numel) {}
    Reduction reduction_;
    std::byte* data_;
    std::int64_t numel_;
    std::int64_t first_ = 0;  ///< number of its first segment
    std::int64_t left_ = 0;   ///< segments
  };

  /// Collective. Null if the ranks are on several nodes, or if one of them cannot have the memory.
  static std::unique_ptr<SharedAllReduce> create(MPI_Comm comm);

  /// `data` must live until the operation is done, or for ever if it fails.
  std::shared_ptr<Operation> start(const Reduction& reduction, std::byte* data, std::int64_t numel);
  /// Moves all operations on, as far as it goes without waiting.
  void progress();
  /// Collective: gives the memory back; nothing is under way.
  void close();

 private:
  static constexpr int kSlots = 4;  ///< segments under way at once
  struct alignas(64) Counter {
    std::atomic<std::int64_t> value;
  };
  /// At the beginning of each rank's memory.
  struct Counters {
    Counter put[kSlots], combined[kSlots], taken[kSlots];
  };
  enum class Stage { put, combine, take };
  /// Every `kSlots`-th segment, one after another.
  struct Slot {
    std::int64_t segment;
    Stage stage = Stage::put;
  };
  struct Chunk {
    std::byte* data;
    std::size_t bytes;
  };

  SharedAllReduce(MPI_Comm comm, int rank, int size, std::size_t chunk_bytes)
      : comm_(comm), rank_(rank), size_(size), chunk_bytes_(chunk_bytes) {}
  static std::size_t bytes_per_rank(int size, std::size_t chunk_bytes);
  bool map();
  bool advance(Slot& slot);
  void put(const Operation& operation, const Slot& slot);
  void combine(const Operation& operation, const Slot& slot);
  void take(const Operation& operation, const Slot& slot);
  Operation* operation_of(std::int64_t segment);
  std::int64_t segment_elements(const Operation& operation) const;
  Chunk chunk(const Operation& operation, std::int64_t segment, int owner) const;
  Counters& counters(int rank) const;
  std::byte* area(int rank, std::int64_t slot, int owner) const;
  bool all_reached(Counter (Counters::*stage)[kSlots], std::int64_t slot, std::int64_t segment) const;

  MPI_Comm comm_;  ///< the backend's
  MPI_Win window_ = MPI_WIN_NULL;
  int rank_;
  int size_;
  std::size_t chunk_bytes_;
  std::vector<std::byte*> memory_;  ///< of each rank
  std::vector<Slot> slots_;
  std::int64_t next_segment_ = 1;
  std::deque<std::shared_ptr<Operation>> operations_;  ///< with segments left, in order
};

}  // namespace bunchtrain::comm::detail
