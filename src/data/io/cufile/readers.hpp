// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Threads that read by cuFile, each with a slab and handles of its own.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "io/file_bytes.hpp"
#include "io/slab_memory.hpp"
#include "library.hpp"

namespace bunchtrain::data::io::cufile {

/// Bytes of a file that one call brings.
struct Part {
  const FileBytes* file;
  std::uint64_t offset;
  std::span<std::byte> out;
};

/// What became of a part.
enum class Outcome {
  read,
  failed,   ///< this read: another way may bring it
  refused,  ///< the library does not take the file
  silent,   ///< no answer: nothing will be written into `out` later
};

struct Answer {
  Outcome outcome = Outcome::silent;
  std::string reason = {};
};

/// Threads begin with the first parts. Thread-safe.
class Readers {
 public:
  static constexpr std::size_t kSlabBytes = std::size_t{4} << 20;
  /// So that an aligned superset fits into a slab.
  static constexpr std::size_t kMostBytes = kSlabBytes - 2 * SlabMemory::kAlignment;

  Readers(const Library& library, SlabMemory& memory, int count);
  /// Waits for those that answer. One that does not keeps its slab for ever: the library may still write there.
  ~Readers();
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  /// One answer for each part; those that none of the readers has answered for `patience` are given up.
  std::vector<Answer> read(std::span<const Part> parts, std::chrono::milliseconds patience);

 private:
  struct Task;
  struct Shared;
  class Reader;

  void start();

  std::shared_ptr<Shared> shared_;  // of threads that hang, too
  int count_;
  std::once_flag started_;
  std::vector<std::thread> threads_;
};

}  // namespace bunchtrain::data::io::cufile
