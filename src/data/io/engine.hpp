// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Engines fetch the bytes of read plans: one for files by offset, one for what only the HDF5 library reads.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "bunchtrain/data/read_plan.hpp"

namespace bunchtrain::data::io {

/// A way of getting bytes. Immutable, thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string_view name() const noexcept = 0;
  /// Why it cannot read from `source`; empty if it can.
  virtual std::string why_not(const ByteSource& source) const = 0;
  /// Fills `out` with the bytes of the pieces, one after another. @pre their sizes add up to that of `out`, and
  /// `why_not` is empty for each source. @throws DataError, IoError as the source does
  virtual void read(std::span<const Piece> pieces, std::span<std::byte> out) const = 0;
};

/// pread into the buffer, by the calling thread.
const Engine& pread_engine();
/// What is no file, as its source reads it: H5Dread, one thread at a time.
const Engine& hdf5_engine();

/// Those that are built in, the best first.
std::span<const Engine* const> engines();

/// Neighbouring pieces that touch in their source are read at once, up to so many bytes.
inline constexpr std::uint64_t kMostBytesAtOnce = std::uint64_t{8} << 20;

/// Fetches a plan, each piece by the first of `by` that can read its source. @pre `out` has `plan.bytes()`.
/// @throws DataError if none can; DataError, IoError as the source does
void fetch(const ReadPlan& plan, std::span<std::byte> out, std::span<const Engine* const> by = engines());

}  // namespace bunchtrain::data::io
