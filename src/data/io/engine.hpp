// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Engines fetch the bytes of read plans: one for files by offset, one for what only the HDF5 library reads.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "bunchtrain/data/io_engine.hpp"
#include "bunchtrain/data/read_plan.hpp"

namespace bunchtrain::data::io {

/// What is to be read, for engines to judge.
struct Request {
  std::uint64_t data_bytes = 0;    ///< of all files of the data set
  std::uint64_t memory_bytes = 0;  ///< that the page cache may take

  /// Whether an epoch finds in memory what the one before has read.
  bool fits_in_memory() const noexcept { return data_bytes <= memory_bytes / 2; }
};

/// A way of getting bytes. Immutable, thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual IoEngine kind() const noexcept = 0;
  virtual std::string_view name() const noexcept { return to_string(kind()); }
  /// Why it can read nothing in this process; empty if it can.
  virtual std::string unavailable() const { return {}; }
  /// How well it suits the request, among engines that can read it; 0 if it is unavailable.
  virtual int score(const Request& request) const = 0;
  /// Why it cannot read from `source`; empty if it can.
  virtual std::string why_not(const ByteSource& source) const = 0;
  /// The same of a file that is not open yet.
  virtual std::string why_not_file(const std::string& /*path*/) const { return unavailable(); }
  /// Fills `out` with the bytes of the pieces, one after another. @pre their sizes add up to that of `out`, and
  /// `why_not` is empty for each source. @throws DataError, IoError as the source does
  virtual void read(std::span<const Piece> pieces, std::span<std::byte> out) const = 0;
  /// The pieces are read soon: an engine through the page cache lets the system begin with it. Nothing is promised, and
  /// what cannot be read says so when it is read. @pre as `read`
  virtual void expect(std::span<const Piece> /*pieces*/) const {}
};

/// pread into the buffer, by the calling thread.
const Engine& pread_engine();
/// What is no file, as its source reads it: H5Dread, one thread at a time.
const Engine& hdf5_engine();

/// What reads sources that were opened for no engine, the best first.
std::span<const Engine* const> engines();
/// All that there are, also those that are unavailable here.
std::span<const Engine* const> all_engines();

/// The pieces one after the other, each as its source reads itself.
void read_each(std::span<const Piece> pieces, std::span<std::byte> out);

/// Fetches a plan by one engine. @pre it can read all sources; `out` has `plan.bytes()`
void fetch_by(const Engine& engine, const ReadPlan& plan, std::span<std::byte> out);

/// Neighbouring pieces that touch in their source are read at once, up to so many bytes.
inline constexpr std::uint64_t kMostBytesAtOnce = std::uint64_t{8} << 20;

/// Fetches a plan, each piece by the engine that its source was opened for, or by the first of `by` that can read it. @pre `out` has `plan.bytes()`.
/// @throws DataError if none can; DataError, IoError as the source does
void fetch(const ReadPlan& plan, std::span<std::byte> out, std::span<const Engine* const> by = engines());
/// A plan that is fetched soon, told to those engines.
void expect(const ReadPlan& plan);

}  // namespace bunchtrain::data::io
