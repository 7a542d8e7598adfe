// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One operation as the caller issued it: what is compared in checked mode, recorded, and named in messages.

#include <c10/core/ScalarType.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "bunchtrain/comm/communicator.hpp"

namespace bunchtrain::comm::detail {

/// Of a user: the MPI standard guarantees 32767, those above are the control plane's.
inline constexpr int kMaxTag = 31'998;

enum class Operation : std::int32_t {
  none,
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  all_to_all,
  send,
  receive,
  barrier,
  split,
  close,
  captured_step,  ///< captured operations, all of them at once
  reading         ///< none: the rank waits for its data
};

std::string_view to_string(Operation operation) noexcept;

/// Plain data: travels between ranks as bytes.
struct Call {
  std::uint64_t sequence = 0;  ///< number of collectives of this communicator so far, this one included
  std::int64_t numel = 0;      ///< of the input
  std::int64_t layout = 0;     ///< 0 for contiguous, else a hash of the strides
  Operation operation = Operation::none;
  ReduceOp op = ReduceOp::sum;
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::int32_t root = -1;  ///< root of a broadcast, peer of a point-to-point operation
  std::int32_t tag = 0;    ///< of a captured step: its graph

  bool operator==(const Call&) const = default;
  bool is_point_to_point() const noexcept {
    return operation == Operation::send || operation == Operation::receive;
  }
};

/// A pause between two looks at an operation that has been waited for so long: none at first, but who waits
/// for a second waits for a straggler, and leaves the core to it.
void rest(std::chrono::steady_clock::duration waited);

/// "all_reduce(sum) of 1000 float32 (#12)".
std::string describe(const Call& call);

}  // namespace bunchtrain::comm::detail
