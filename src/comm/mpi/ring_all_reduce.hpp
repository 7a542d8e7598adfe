// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A large all_reduce over nonblocking point-to-point messages.

#include <mpi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bunchtrain::comm::detail {

/// Where a ring runs and what it computes.
struct Ring {
  MPI_Comm comm;  ///< used by rings only
  int rank;
  int size;
  int first_tag;  ///< `RingAllReduce::kSlots` tags from here on belong to this operation
  MPI_Datatype type;
  MPI_Op op;
  std::size_t element_bytes;
};

/// Reduces in place: each segment of the data goes around the ring twice, in chunks of one per rank,
/// first summing, then spreading the sums. Every rank sends and receives 2 (size - 1) / size of the
/// bytes and adds its share only; Open MPI's MPI_Iallreduce lets one of two or three ranks add
/// everything while the others wait. Segments fit in the cache, and several are under way at once, so
/// that messages travel while others are added.
///
/// A chunk is always added in the same order of ranks, and its sum is made once: all ranks get the same bits.
class RingAllReduce {
 public:
  static constexpr int kSlots = 4;  ///< segments under way at once
  /// Below this many bytes MPI_Iallreduce is faster.
  static constexpr std::int64_t kMinBytes = 64 * 1024;

  /// `data` must live until `progress()` returned true; `name` is for messages.
  RingAllReduce(const Ring& ring, std::byte* data, std::int64_t numel, std::string name);
  /// @throws CommError; some messages may be under way then.
  void start();
  /// Never waits; true once complete. @throws CommError
  bool progress();

 private:
  /// Every `kSlots`-th segment, one after another, on its way around the ring. Which segment is in which slot
  /// must not depend on timing: ranks that disagree would add different data.
  struct Slot {
    std::int64_t next_segment = 0;
    std::byte* data = nullptr;
    std::int64_t numel = 0;
    int step = 0;
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    std::unique_ptr<std::byte[]> incoming;
    bool active = false;
  };
  struct Chunk {
    std::byte* data;
    int count;
  };

  bool advance(Slot& slot, int tag);
  void start_segment(Slot& slot, int tag);
  void start_step(Slot& slot, int tag);
  Chunk chunk(const Slot& slot, int index) const;
  int last_step() const noexcept { return 2 * (ring_.size - 1); }

  Ring ring_;
  std::string name_;
  std::byte* data_;
  std::int64_t numel_;
  std::int64_t segment_;  ///< elements of a segment
  std::vector<Slot> slots_;
};

}  // namespace bunchtrain::comm::detail
