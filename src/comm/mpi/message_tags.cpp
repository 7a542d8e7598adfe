// SPDX-License-Identifier: Apache-2.0
#include "message_tags.hpp"

#include "bunchtrain/mpi/detail/check.hpp"
#include "call.hpp"

namespace bunchtrain::comm::detail {
namespace {

constexpr int kOrder = 16;        // messages of one peer and tag that are told apart
constexpr int kFewestSizes = 64;  // fewer are not worth it

}  // namespace

MessageTags::MessageTags(MPI_Comm comm) {
  void* largest = nullptr;
  int known = 0;
  mpi::check(MPI_Comm_get_attr(comm, MPI_TAG_UB, &largest, &known), "MPI_Comm_get_attr");
  if (known == 0) return;
  const int sizes = *static_cast<const int*>(largest) / (kOrder * (kMaxTag + 1)) - 1;
  if (sizes >= kFewestSizes) sizes_ = sizes | 1;  // odd: bytes are multiples of powers of two
}

int MessageTags::next(Counts& counts, int peer, int tag, std::int64_t bytes) {
  if (sizes_ == 1) return tag;
  const auto order = static_cast<int>(counts[{peer, tag}]++ % kOrder);
  return (tag * kOrder + order) * sizes_ + static_cast<int>(bytes % sizes_);
}

}  // namespace bunchtrain::comm::detail
