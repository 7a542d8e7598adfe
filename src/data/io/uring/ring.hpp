// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One ring of io_uring with the memory into which it reads.

#include <liburing.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "bunchtrain/data/read_plan.hpp"
#include "io/file_bytes.hpp"

namespace bunchtrain::data::io {

/// Of one thread: not thread-safe.
class Ring {
 public:
  static constexpr std::uint64_t kAlignment = 4096;
  static constexpr std::size_t kBlockBytes = std::size_t{256} << 10;  ///< of a read at most
  static constexpr unsigned kBlocks = 32;                             ///< reads under way at most

  /// 0, or the errno for which the system makes none.
  static int probe();
  /// Null if the system makes none.
  static std::unique_ptr<Ring> create();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// As `Engine::read`, of sources that are FileBytes.
  void read(std::span<const Piece> pieces, std::span<std::byte> out);
  /// The kernel took no more requests: its memory is never used again.
  bool is_broken() const noexcept { return broken_; }

 private:
  static constexpr unsigned kFiles = 16;
  /// Bytes of one file that one read brings.
  struct Part {
    const FileBytes* file = nullptr;
    std::uint64_t offset = 0;
    std::span<std::byte> out;
  };
  class Cutter;
  /// A read under way, in the block of the same number.
  struct Read {
    Part part;
    std::shared_ptr<const FileDescriptor> descriptor;
    int registered = -1;      ///< place of the descriptor among those registered; -1: it is none of them
    std::uint64_t begin = 0;  ///< at most part.offset
    bool direct = false;
  };
  /// The file that is read at present.
  struct Open {
    const FileBytes* file = nullptr;
    std::shared_ptr<const FileDescriptor> descriptor = {};
    bool direct = false;
  };
  struct Freer {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  Ring() = default;
  void register_all();
  std::byte* block(unsigned number) { return slab_.get() + number * kBlockBytes; }
  void open(const FileBytes& file);
  bool begin(unsigned number, const Part& part);
  int registered_place(const std::shared_ptr<const FileDescriptor>& descriptor);
  bool wait();
  void give_up(std::vector<Part>& failed);
  void finish(unsigned number, int result, std::vector<Part>& failed);

  io_uring ring_{};
  std::unique_ptr<std::byte, Freer> slab_;
  bool memory_registered_ = false, files_registered_ = false;
  std::array<Read, kBlocks> reads_;
  std::vector<unsigned> free_;
  std::array<std::shared_ptr<const FileDescriptor>, kFiles> files_;
  std::array<int, kFiles> uses_{};
  unsigned next_file_ = 0;
  Open open_;
  bool broken_ = false;
};

}  // namespace bunchtrain::data::io
