// SPDX-License-Identifier: Apache-2.0
// Reads the structures of the HDF5 File Format Specification 3.0: object headers (IV.A), the data layout
// message of version 3 (IV.A.2.i), version 1 B-trees of chunks (III.A.1). Nothing is believed: a value that
// cannot be right ends the walk.
#include <algorithm>
#include <optional>
#include <set>

#include "chunk_index.hpp"
#include "chunk_map.hpp"
#include "file_cursor.hpp"

namespace bunchtrain::data {
namespace {

constexpr int kDeepestTree = 32;
constexpr int kMostBlocks = 1000;
constexpr unsigned kLayoutMessage = 0x08;
constexpr unsigned kContinuationMessage = 0x10;

struct Block {
  std::uint64_t offset, size;
};

class Walker {
 public:
  Walker(const FileBytes& file, const FileFormat& format, const ChunkGrid& grid, std::uint64_t most_entries)
      : file_(file), format_(format), grid_(grid), axes_(grid.chunk.size()), most_entries_(most_entries) {}

  std::vector<ChunkEntry> walk(std::uint64_t header_address) {
    const Place place = find_layout(absolute(header_address));
    if (place.index) return read_chunk_index(file_, format_, *place.index, grid_, most_entries_);
    if (place.tree != format_.undefined()) visit(place.tree, kDeepestTree);
    return std::move(entries_);
  }

 private:
  /// What a layout message says: the root of a version 1 tree, or an index of the newest format.
  struct Place {
    std::uint64_t tree = 0;
    std::optional<ChunkIndex> index = {};
  };

  std::uint64_t absolute(std::uint64_t address) const {
    if (address > file_.size()) throw Unreadable("an address beyond the file");
    return format_.base + address;
  }

  Place find_layout(std::uint64_t header) {
    FileCursor start(file_, header,
                     std::min<std::uint64_t>(64, file_.size() - std::min(header, file_.size())));
    const bool old = start.number(1) == 1;
    std::vector<Block> blocks = {old ? first_block_v1(header) : first_block_v2(header)};
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (i > kMostBlocks) throw Unreadable("too many header blocks");
      FileCursor block(file_, blocks[i].offset, blocks[i].size);
      if (!old && i > 0) block.expect("OCHK");
      if (auto place = old ? search_v1(block, blocks) : search_v2(block, blocks)) return *place;
    }
    throw Unreadable("no layout message");
  }

  Block first_block_v1(std::uint64_t header) {
    FileCursor prefix(file_, header, 16);
    prefix.skip(8);
    return {header + 16, prefix.number(4)};
  }

  Block first_block_v2(std::uint64_t header) {
    FileCursor prefix(file_, header, std::min<std::uint64_t>(48, file_.size() - header));
    prefix.expect("OHDR");
    if (prefix.number(1) != 2) throw Unreadable("unknown header version");
    const auto flags = prefix.number(1);
    has_creation_order_ = (flags & 0x04) != 0;
    std::uint64_t length = 6;
    if (flags & 0x20) length += 16;
    if (flags & 0x10) length += 4;
    prefix.skip(length - 6);
    const std::size_t width = std::size_t{1} << (flags & 3);
    const auto size = prefix.number(width);
    return {header + length + width, size};
  }

  std::optional<Place> search_v1(FileCursor& block, std::vector<Block>& blocks) {
    while (block.left() >= 8) {
      const auto type = block.number(2);
      const auto size = block.number(2);
      block.skip(4);
      if (auto place = read_message(type, size, block, blocks)) return place;
    }
    return std::nullopt;
  }

  std::optional<Place> search_v2(FileCursor& block, std::vector<Block>& blocks) {
    const std::size_t head = has_creation_order_ ? 6 : 4;
    while (block.left() >= head) {
      const auto type = block.number(1);
      const auto size = block.number(2);
      block.skip(head - 3);
      if (size > block.left()) return std::nullopt;  // the checksum at the end of a continuation block
      if (auto place = read_message(type, size, block, blocks)) return place;
    }
    return std::nullopt;
  }

  std::optional<Place> read_message(std::uint64_t type, std::size_t size, FileCursor& block,
                                    std::vector<Block>& blocks) {
    const std::size_t before = block.left();
    if (size > before) throw Unreadable("a message beyond its block");
    if (type == kLayoutMessage) return read_layout(block);
    if (type == kContinuationMessage) {
      const auto offset = absolute(block.number(format_.address_bytes));
      blocks.push_back({offset, block.number(format_.length_bytes)});
    }
    block.skip(size - (before - block.left()));
    return std::nullopt;
  }

  Place read_layout(FileCursor& block) const {
    constexpr unsigned kOldest = 3, kNewest = 4, kChunked = 2;
    const auto version = block.number(1);
    if (block.number(1) != kChunked) throw Unreadable("no chunks");
    if (version == kNewest) return {.index = read_index_message(block, format_, axes_)};
    if (version != kOldest || block.number(1) != axes_ + 1) throw Unreadable("another layout");
    return {.tree = block.number(format_.address_bytes)};
  }

  void visit(std::uint64_t address, int depth_left) {
    const std::uint64_t offset = absolute(address);
    if (depth_left == 0 || !visited_.insert(offset).second) throw Unreadable("the tree is no tree");
    const std::size_t head = 8 + 2 * format_.address_bytes;
    FileCursor prefix(file_, offset, head);
    prefix.expect("TREE");
    constexpr unsigned kChunkNode = 1;
    if (prefix.number(1) != kChunkNode) throw Unreadable("a node of another tree");
    const auto level = prefix.number(1);
    const auto used = prefix.number(2);
    const std::size_t key = 8 + 8 * (axes_ + 1);
    FileCursor node(file_, offset + head, used * (key + format_.address_bytes));
    for (std::uint64_t i = 0; i < used; ++i) {
      ChunkEntry entry;
      entry.chunk.bytes = static_cast<std::uint32_t>(node.number(4));
      entry.chunk.skip_mask = static_cast<std::uint32_t>(node.number(4));
      for (std::size_t axis = 0; axis < axes_; ++axis) entry.first.push_back(node.number(8));
      node.skip(8);  // the offset within the element, always 0
      const auto child = node.number(format_.address_bytes);
      if (level > 0) {
        visit(child, depth_left - 1);
        continue;
      }
      entry.chunk.offset = absolute(child);
      if (entries_.size() >= most_entries_) throw Unreadable("more chunks than the dataset has");
      entries_.push_back(std::move(entry));
    }
  }

  const FileBytes& file_;
  const FileFormat format_;
  const ChunkGrid& grid_;
  const std::size_t axes_;
  const std::uint64_t most_entries_;
  bool has_creation_order_ = false;
  std::set<std::uint64_t> visited_;
  std::vector<ChunkEntry> entries_;
};

}  // namespace

std::optional<std::vector<ChunkEntry>> read_chunks(const FileBytes& bytes, const FileFormat& format,
                                                   std::uint64_t header_address, const ChunkGrid& grid,
                                                   std::uint64_t most_entries) {
  try {
    return Walker(bytes, format, grid, most_entries).walk(header_address);
  } catch (const Unreadable&) {
    return std::nullopt;  // the library is asked instead
  }
}

}  // namespace bunchtrain::data
