// SPDX-License-Identifier: Apache-2.0
// Reads the structures of the HDF5 File Format Specification 3.0: object headers (IV.A), the data layout
// message of version 3 (IV.A.2.i), version 1 B-trees of chunks (III.A.1). Nothing is believed: a value that
// cannot be right ends the walk.
#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string_view>

#include "chunk_map.hpp"

namespace bunchtrain::data {
namespace {

struct Unreadable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

constexpr std::uint64_t kLargestBlock = std::uint64_t{1} << 24;
constexpr int kDeepestTree = 32;
constexpr int kMostBlocks = 1000;
constexpr unsigned kLayoutMessage = 0x08;
constexpr unsigned kContinuationMessage = 0x10;

// A piece of the file, read front to back.
class Cursor {
 public:
  Cursor(const FileBytes& file, std::uint64_t offset, std::uint64_t size) {
    if (size > kLargestBlock || offset > file.size() || size > file.size() - offset)
      throw Unreadable("beyond the file");
    bytes_.resize(size);
    file.read(offset, bytes_);
  }

  std::size_t left() const { return bytes_.size() - at_; }
  void skip(std::size_t count) {
    if (count > left()) throw Unreadable("beyond a block");
    at_ += count;
  }
  /// Little-endian.
  std::uint64_t number(std::size_t bytes) {
    std::uint64_t value = 0;
    const std::size_t begin = at_;
    skip(bytes);
    for (std::size_t i = bytes; i-- > 0;)
      value = value << 8 | std::to_integer<std::uint64_t>(bytes_[begin + i]);
    return value;
  }
  void expect(std::string_view signature) {
    const std::size_t begin = at_;
    skip(signature.size());
    if (std::memcmp(bytes_.data() + begin, signature.data(), signature.size()) != 0)
      throw Unreadable("no signature");
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t at_ = 0;
};

struct Block {
  std::uint64_t offset, size;
};

class Walker {
 public:
  Walker(const FileBytes& file, const FileFormat& format, std::size_t axes, std::uint64_t most_entries)
      : file_(file), format_(format), axes_(axes), most_entries_(most_entries) {}

  std::vector<ChunkEntry> walk(std::uint64_t header_address) {
    const std::uint64_t root = find_tree(absolute(header_address));
    if (root != undefined()) visit(root, kDeepestTree);
    return std::move(entries_);
  }

 private:
  std::uint64_t undefined() const {
    return format_.address_bytes == 8 ? ~std::uint64_t{0}
                                      : (std::uint64_t{1} << 8 * format_.address_bytes) - 1;
  }
  std::uint64_t absolute(std::uint64_t address) const {
    if (address > file_.size()) throw Unreadable("an address beyond the file");
    return format_.base + address;
  }

  // The address of the tree's root, undefined if nothing was ever written.
  std::uint64_t find_tree(std::uint64_t header) {
    Cursor start(file_, header, std::min<std::uint64_t>(64, file_.size() - std::min(header, file_.size())));
    const bool old = start.number(1) == 1;
    std::vector<Block> blocks = {old ? first_block_v1(header) : first_block_v2(header)};
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (i > kMostBlocks) throw Unreadable("too many header blocks");
      Cursor block(file_, blocks[i].offset, blocks[i].size);
      if (!old && i > 0) block.expect("OCHK");
      if (const auto root = old ? search_v1(block, blocks) : search_v2(block, blocks)) return *root;
    }
    throw Unreadable("no layout message");
  }

  Block first_block_v1(std::uint64_t header) {
    Cursor prefix(file_, header, 16);
    prefix.skip(8);
    return {header + 16, prefix.number(4)};
  }

  Block first_block_v2(std::uint64_t header) {
    Cursor prefix(file_, header, std::min<std::uint64_t>(48, file_.size() - header));
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

  std::optional<std::uint64_t> search_v1(Cursor& block, std::vector<Block>& blocks) {
    while (block.left() >= 8) {
      const auto type = block.number(2);
      const auto size = block.number(2);
      block.skip(4);
      if (const auto root = read_message(type, size, block, blocks)) return root;
    }
    return std::nullopt;
  }

  std::optional<std::uint64_t> search_v2(Cursor& block, std::vector<Block>& blocks) {
    const std::size_t head = has_creation_order_ ? 6 : 4;
    while (block.left() >= head) {
      const auto type = block.number(1);
      const auto size = block.number(2);
      block.skip(head - 3);
      if (size > block.left()) return std::nullopt;  // the checksum at the end of a continuation block
      if (const auto root = read_message(type, size, block, blocks)) return root;
    }
    return std::nullopt;
  }

  std::optional<std::uint64_t> read_message(std::uint64_t type, std::size_t size, Cursor& block,
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

  std::uint64_t read_layout(Cursor& block) {
    constexpr unsigned kChunked = 2;
    if (block.number(1) != 3 || block.number(1) != kChunked) throw Unreadable("no version 1 tree");
    if (block.number(1) != axes_ + 1) throw Unreadable("another rank");
    return block.number(format_.address_bytes);
  }

  void visit(std::uint64_t address, int depth_left) {
    const std::uint64_t offset = absolute(address);
    if (depth_left == 0 || !visited_.insert(offset).second) throw Unreadable("the tree is no tree");
    const std::size_t head = 8 + 2 * format_.address_bytes;
    Cursor prefix(file_, offset, head);
    prefix.expect("TREE");
    constexpr unsigned kChunkNode = 1;
    if (prefix.number(1) != kChunkNode) throw Unreadable("a node of another tree");
    const auto level = prefix.number(1);
    const auto used = prefix.number(2);
    const std::size_t key = 8 + 8 * (axes_ + 1);
    Cursor node(file_, offset + head, used * (key + format_.address_bytes));
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
  const std::size_t axes_;
  const std::uint64_t most_entries_;
  bool has_creation_order_ = false;
  std::set<std::uint64_t> visited_;
  std::vector<ChunkEntry> entries_;
};

}  // namespace

std::optional<std::vector<ChunkEntry>> walk_chunk_tree(const FileBytes& bytes, const FileFormat& format,
                                                       std::uint64_t header_address, std::size_t axes,
                                                       std::uint64_t most_entries) {
  try {
    return Walker(bytes, format, axes, most_entries).walk(header_address);
  } catch (const Unreadable&) {
    return std::nullopt;  // the library is asked instead
  }
}

}  // namespace bunchtrain::data
