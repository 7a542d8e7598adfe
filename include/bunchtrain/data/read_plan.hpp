// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The first half of reading: which bytes samples are decoded from, so that an engine can fetch them.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace bunchtrain::data {

namespace io {
class Engine;
}

/// Bytes by offset: a file, or rows that only the HDF5 library gets at. Immutable, thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// The file behind it, for messages.
  virtual const std::string& path() const noexcept = 0;
  /// Fills `out` from `offset` on. @throws DataError, IoError
  virtual void read(std::uint64_t offset, std::span<std::byte> out) const = 0;
  /// Whether offsets are those of the file `path()`, so that an engine may open and read it by itself.
  virtual bool is_file() const noexcept = 0;
  /// The engine that is to fetch it; null: the first that can.
  virtual const io::Engine* engine() const noexcept { return nullptr; }
  enum class Look {
    now,
    now_and_then,  ///< if nobody has done so within the last quarter of a second
  };
  /// @throws DataError if what it reads from is no longer what it was when it was opened.
  virtual void require_unchanged(Look) const {}
};

/// Consecutive bytes of a source; or none of it, because what they hold was decoded before and is still there.
struct Piece {
  const ByteSource* source = nullptr;  ///< lives as long as the dataset that planned it
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  /// If not null, `bytes` is 0.
  std::shared_ptr<const std::vector<std::byte>> decoded = {};
};

/// What one range of a dataset is decoded from, in the order of decoding.
struct ReadPlan {
  std::vector<Piece> pieces;
  /// Chunks are among them that other ranges have rows of, too: whoever decodes one keeps it for the others, which need
  /// less if they are planned after that.
  bool shares_chunks = false;

  void add(const ByteSource& source, std::uint64_t offset, std::uint64_t bytes) {
    pieces.push_back({.source = &source, .offset = offset, .bytes = bytes});
  }
  /// Of all pieces: as much memory as they are fetched into.
  std::uint64_t bytes() const noexcept;
};

/// The bytes of a plan's pieces, one after another as they were planned. Not thread-safe.
///
/// Whoever decodes says which piece it expects, so that bytes of other samples are never taken for its own.
class PlannedBytes {
 public:
  /// @param bytes of all pieces without gaps; both must live as long as this.
  PlannedBytes(const ReadPlan& plan, std::span<const std::byte> bytes) : plan_(&plan), bytes_(bytes) {}

  /// The bytes of the next piece. @throws DataError unless it is that one: the plan is of other samples.
  std::span<const std::byte> next(const ByteSource& source, std::uint64_t offset, std::uint64_t bytes);
  /// The rows if the next piece is what was decoded before of the bytes at `offset`, else nothing, and the
  /// piece stays the next one.
  const std::vector<std::byte>* next_decoded(const ByteSource& source, std::uint64_t offset);
  /// @throws DataError if pieces are left: the plan is of more samples.
  void require_end() const;

 private:
  const ReadPlan* plan_;
  std::span<const std::byte> bytes_;
  std::size_t next_ = 0;
};

}  // namespace bunchtrain::data
