// SPDX-License-Identifier: Apache-2.0
// Reads the structures of the HDF5 File Format Specification 3.0: the data layout message of version 4 (IV.A.2.i), fixed
// and extensible arrays (VII.C and VII.D), version 2 B-trees (III.A.2). Checksums are not looked at: what cannot be right ends
// the reading, and whoever opens the dataset compares rows with H5Dread.
#include "chunk_index.hpp"

#include <algorithm>
#include <bit>
#include <set>

namespace bunchtrain::data {
namespace {

constexpr std::size_t kChecksum = 4;
constexpr std::size_t kMostPageBits = 20;
constexpr int kDeepestTree = 32;

/// Bytes in which numbers up to `limit` are stored.
std::size_t bytes_for(std::uint64_t limit) {
  return limit == 0 ? 1 : (static_cast<std::size_t>(std::bit_width(limit)) - 1) / 8 + 1;
}

class IndexReader {
 public:
  IndexReader(const FileBytes& file, const FileFormat& format, const ChunkGrid& grid,
              std::uint64_t most_entries)
      : file_(file), format_(format), grid_(grid), most_entries_(most_entries) {
    // In an extensible array the axis that grows is the slowest one.
    for (std::size_t axis = 0; axis < grid.chunk.size(); ++axis)
      if (grid.most[axis] == ChunkGrid::kUnlimited) order_.push_back(axis);
    for (std::size_t axis = 0; axis < grid.chunk.size(); ++axis)
      if (grid.most[axis] != ChunkGrid::kUnlimited) order_.push_back(axis);
  }

  std::vector<ChunkEntry> read(const ChunkIndex& index) {
    if (index.address == format_.undefined()) return {};
    using Kind = ChunkIndex::Kind;
    if (index.kind != Kind::tree && order_.size() > 1 && grid_.most[order_[1]] == ChunkGrid::kUnlimited)
      throw Unreadable("two axes without an end");
    switch (index.kind) {
      case Kind::single:
        add(0, {.offset = absolute(index.address),
                .bytes = narrow(index.filtered ? index.filtered_bytes : grid_.chunk_bytes),
                .skip_mask = index.skip_mask});
        break;
      case Kind::implicit:
        read_implicit(index.address);
        break;
      case Kind::fixed_array:
        read_fixed_array(index.address);
        break;
      case Kind::extensible_array:
        read_extensible_array(index.address);
        break;
      case Kind::tree:
        read_tree(index.address);
    }
    return std::move(entries_);
  }

 private:
  struct Elements {
    bool filtered = false;
    std::size_t bytes = 0;
  };
  /// How many data blocks of how many elements a level of an extensible array has.
  struct ExtensibleArray {
    Elements elements;
    std::size_t offset_bytes = 0;
    std::uint64_t least_elements = 0;
    std::uint64_t page_elements = 0;

    std::uint64_t blocks_of(std::size_t level) const { return std::uint64_t{1} << level / 2; }
    std::uint64_t elements_of(std::size_t level) const { return least_elements << (level + 1) / 2; }
  };
  struct Tree {
    bool filtered = false;
    std::size_t node_bytes = 0, record_bytes = 0;
    std::vector<std::size_t> total_bytes = {};  ///< by depth: of a count of all records below
    std::size_t count_bytes = 0;                ///< of a count of the records of a node
  };

  std::uint64_t absolute(std::uint64_t address) const {
    if (address > file_.size()) throw Unreadable("an address beyond the file");
    return format_.base + address;
  }
  FileCursor at(std::uint64_t address, std::uint64_t size) const { return {file_, absolute(address), size}; }
  static std::uint32_t narrow(std::uint64_t bytes) {
    if (bytes > ~std::uint32_t{0}) throw Unreadable("a chunk that is too large");
    return static_cast<std::uint32_t>(bytes);
  }

  /// A block of two parents would be read again and again.
  void require_new(std::uint64_t address) {
    if (!visited_.insert(address).second) throw Unreadable("a block of two parents");
  }
  ChunkEntry& new_entry(const StoredChunk& chunk) {
    if (entries_.size() >= most_entries_) throw Unreadable("more chunks than the dataset has");
    return entries_.emplace_back(ChunkEntry{.first = {}, .chunk = chunk});
  }
  void add(std::uint64_t index, const StoredChunk& chunk) {
    ChunkEntry& entry = new_entry(chunk);
    entry.first.resize(order_.size());
    for (std::size_t i = order_.size(); i-- > 0;) {
      const std::size_t axis = order_[i];
      const std::uint64_t most = i == 0 ? ChunkGrid::kUnlimited : grid_.most[axis];
      entry.first[axis] = index % most * grid_.chunk[axis];
      index /= most;
    }
  }

  void read_implicit(std::uint64_t address) {
    std::uint64_t count = 1;
    for (const std::uint64_t most : grid_.most)
      if (__builtin_mul_overflow(count, most, &count) || count > most_entries_)
        throw Unreadable("more chunks than the dataset has");
    for (std::uint64_t i = 0; i < count; ++i)
      add(i, {.offset = absolute(address) + i * grid_.chunk_bytes, .bytes = narrow(grid_.chunk_bytes)});
  }

  /// The beginning that all blocks of arrays have.
  void expect_block(FileCursor& block, std::string_view signature, bool filtered) const {
    block.expect(signature);
    if (block.number(1) != 0 || (block.number(1) == 1) != filtered)
      throw Unreadable("a block of another array");
    block.skip(format_.address_bytes);  // of the array's header
  }
  std::size_t prefix_bytes() const { return 6 + format_.address_bytes; }

  Elements read_element_kind(FileCursor& header) const {
    if (header.number(1) != 0) throw Unreadable("an unknown version");
    Elements elements{.filtered = header.number(1) == 1};
    elements.bytes = header.number(1);
    const std::size_t least = format_.address_bytes + (elements.filtered ? 5 : 0);
    if (elements.bytes < least || elements.bytes > least + (elements.filtered ? 7 : 0))
      throw Unreadable("elements of another size");
    return elements;
  }

  void read_elements(FileCursor& block, const Elements& elements, std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t address = block.number(format_.address_bytes);
      std::uint64_t bytes = grid_.chunk_bytes, mask = 0;
      if (elements.filtered) {
        bytes = block.number(elements.bytes - format_.address_bytes - 4);
        mask = block.number(4);
      }
      if (address == format_.undefined()) continue;
      add(first + i, {.offset = absolute(address),
                      .bytes = narrow(bytes),
                      .skip_mask = static_cast<std::uint32_t>(mask)});
    }
  }

  /// Pages one behind the other, each with a checksum; those that were never written hold anything.
  void read_pages(std::uint64_t address, const Elements& elements, std::uint64_t first, std::uint64_t count,
                  std::uint64_t page_elements, const std::vector<bool>& written, std::uint64_t first_page) {
    for (std::uint64_t done = 0, page = 0; done < count; done += page_elements, ++page) {
      const std::uint64_t here = std::min(page_elements, count - done);
      if (first_page + page >= written.size()) throw Unreadable("a page too many");
      if (written[first_page + page]) {
        FileCursor block = at(address, here * elements.bytes);
        read_elements(block, elements, first + done, here);
      }
      address += here * elements.bytes + kChecksum;
    }
  }

  void read_fixed_array(std::uint64_t address) {
    FileCursor header = at(address, 8 + format_.length_bytes + format_.address_bytes);
    header.expect("FAHD");
    const Elements elements = read_element_kind(header);
    const std::size_t page_bits = header.number(1);
    const std::uint64_t count = header.number(format_.length_bytes);
    const std::uint64_t data = header.number(format_.address_bytes);
    if (data == format_.undefined()) return;
    if (page_bits > kMostPageBits || count > file_.size()) throw Unreadable("too many elements");
    const std::uint64_t page_elements = std::uint64_t{1} << page_bits;
    const bool paged = count > page_elements;
    const std::uint64_t bitmap = paged ? ((count - 1) / page_elements + 8) / 8 : 0;
    FileCursor block = at(data, prefix_bytes() + (paged ? bitmap : count * elements.bytes));
    expect_block(block, "FADB", elements.filtered);
    if (!paged) return read_elements(block, elements, 0, count);
    read_pages(data + prefix_bytes() + bitmap + kChecksum, elements, 0, count, page_elements,
               block.bits(bitmap), 0);
  }

  void read_extensible_array(std::uint64_t address) {
    FileCursor header = at(address, 12 + 6 * format_.length_bytes + format_.address_bytes);
    header.expect("EAHD");
    ExtensibleArray array{.elements = read_element_kind(header)};
    const std::size_t index_bits = header.number(1), in_index = header.number(1);
    array.least_elements = header.number(1);
    const std::uint64_t least_pointers = header.number(1), page_bits = header.number(1);
    header.skip(6 * format_.length_bytes);
    const std::uint64_t index = header.number(format_.address_bytes);
    if (index == format_.undefined()) return;
    if (!std::has_single_bit(array.least_elements) || !std::has_single_bit(least_pointers) ||
        index_bits > 64 || page_bits > kMostPageBits || least_pointers > std::uint64_t{1} << 20)
      throw Unreadable("an array of another kind");
    array.page_elements = std::uint64_t{1} << page_bits;
    array.offset_bytes = (index_bits + 7) / 8;
    const auto first_bits = static_cast<std::size_t>(std::countr_zero(array.least_elements));
    if (first_bits > index_bits) throw Unreadable("an array of another kind");
    const std::size_t levels = 1 + index_bits - first_bits;
    const auto direct = std::min(2 * static_cast<std::size_t>(std::countr_zero(least_pointers)), levels);
    FileCursor block = at(index, prefix_bytes() + in_index * array.elements.bytes +
                                     (2 * (least_pointers - 1) + levels - direct) * format_.address_bytes);
    expect_block(block, "EAIB", array.elements.filtered);
    read_elements(block, array.elements, 0, in_index);
    std::uint64_t first = in_index;
    for (std::size_t level = 0; level < levels; ++level) {
      const std::uint64_t blocks = array.blocks_of(level), in_block = array.elements_of(level);
      if (level < direct) {
        for (std::uint64_t i = 0; i < blocks; ++i)
          read_data_block(block.number(format_.address_bytes), array, level, first + i * in_block, {}, 0);
      } else {
        read_super_block(block.number(format_.address_bytes), array, level, first);
      }
      if (level + first_bits >= 62) break;  // nothing of this size lies in a file
      first += blocks * in_block;
    }
  }

  void read_super_block(std::uint64_t address, const ExtensibleArray& array, std::size_t level,
                        std::uint64_t first) {
    if (address == format_.undefined()) return;
    require_new(address);
    const std::uint64_t blocks = array.blocks_of(level), in_block = array.elements_of(level);
    if (blocks > file_.size()) throw Unreadable("more blocks than there is room for");
    const std::uint64_t pages = in_block > array.page_elements ? in_block / array.page_elements : 0;
    const std::uint64_t bitmap = blocks * ((pages + 7) / 8);
    if (bitmap > FileCursor::kLargestBlock) throw Unreadable("too many pages");
    FileCursor block =
        at(address, prefix_bytes() + array.offset_bytes + bitmap + blocks * format_.address_bytes);
    expect_block(block, "EASB", array.elements.filtered);
    block.skip(array.offset_bytes);
    const std::vector<bool> written = block.bits(bitmap);
    for (std::uint64_t i = 0; i < blocks; ++i)
      read_data_block(block.number(format_.address_bytes), array, level, first + i * in_block, written,
                      i * pages);
  }

  void read_data_block(std::uint64_t address, const ExtensibleArray& array, std::size_t level,
                       std::uint64_t first, const std::vector<bool>& written, std::uint64_t first_page) {
    if (address == format_.undefined()) return;
    require_new(address);
    const std::uint64_t count = array.elements_of(level);
    const bool paged = count > array.page_elements;
    const std::uint64_t prefix = prefix_bytes() + array.offset_bytes;
    FileCursor block = at(address, prefix + (paged ? 0 : count * array.elements.bytes));
    expect_block(block, "EADB", array.elements.filtered);
    block.skip(array.offset_bytes);
    if (!paged) return read_elements(block, array.elements, first, count);
    read_pages(address + prefix + kChecksum, array.elements, first, count, array.page_elements, written,
               first_page);
  }

  void read_tree(std::uint64_t address) {
    FileCursor header = at(address, 18 + format_.address_bytes);
    header.expect("BTHD");
    constexpr unsigned kChunks = 10, kFilteredChunks = 11;
    if (header.number(1) != 0) throw Unreadable("an unknown version");
    const auto type = header.number(1);
    if (type != kChunks && type != kFilteredChunks) throw Unreadable("a tree of something else");
    Tree tree{.filtered = type == kFilteredChunks};
    tree.node_bytes = header.number(4);
    tree.record_bytes = header.number(2);
    const int depth = static_cast<int>(header.number(2));
    header.skip(2);
    const std::uint64_t root = header.number(format_.address_bytes);
    const std::uint64_t records = header.number(2);
    if (root == format_.undefined()) return;
    const std::size_t least = format_.address_bytes + 8 * order_.size() + (tree.filtered ? 5 : 0);
    if (tree.record_bytes < least || tree.record_bytes > least + (tree.filtered ? 7 : 0) ||
        depth > kDeepestTree)
      throw Unreadable("records of another size");
    measure(tree, depth);
    visit(tree, root, records, depth);
  }

  /// Counts are stored in as many bytes as the largest possible one takes.
  void measure(Tree& tree, int depth) const {
    constexpr std::size_t kAround = 6 + kChecksum;
    if (tree.node_bytes < kAround + tree.record_bytes) throw Unreadable("nodes of another size");
    std::uint64_t most = (tree.node_bytes - kAround) / tree.record_bytes, all = most;
    tree.count_bytes = bytes_for(most);
    tree.total_bytes.push_back(0);
    for (int level = 1; level <= depth; ++level) {
      const std::size_t pointer = format_.address_bytes + tree.count_bytes + tree.total_bytes.back();
      if (tree.node_bytes < kAround + pointer) throw Unreadable("nodes of another size");
      most = (tree.node_bytes - kAround - pointer) / (tree.record_bytes + pointer);
      if (__builtin_mul_overflow(all, most + 1, &all)) throw Unreadable("a tree that is too large");
      all += most;
      tree.total_bytes.push_back(bytes_for(all));
    }
  }

  void visit(const Tree& tree, std::uint64_t address, std::uint64_t records, int depth) {
    require_new(address);
    FileCursor node = at(address, tree.node_bytes);
    node.expect(depth > 0 ? "BTIN" : "BTLF");
    node.skip(2);
    for (std::uint64_t i = 0; i < records; ++i) read_record(tree, node);
    if (depth == 0) return;
    for (std::uint64_t i = 0; i <= records; ++i) {
      const std::uint64_t child = node.number(format_.address_bytes);
      const std::uint64_t of_child = node.number(tree.count_bytes);
      node.skip(tree.total_bytes[static_cast<std::size_t>(depth) - 1]);
      visit(tree, child, of_child, depth - 1);
    }
  }

  void read_record(const Tree& tree, FileCursor& node) {
    const std::uint64_t address = node.number(format_.address_bytes);
    std::uint64_t bytes = grid_.chunk_bytes, mask = 0;
    if (tree.filtered) {
      bytes = node.number(tree.record_bytes - format_.address_bytes - 4 - 8 * order_.size());
      mask = node.number(4);
    }
    ChunkEntry& entry = new_entry(
        {.offset = absolute(address), .bytes = narrow(bytes), .skip_mask = static_cast<std::uint32_t>(mask)});
    for (const std::uint64_t chunk : grid_.chunk) {
      std::uint64_t first = 0;
      if (__builtin_mul_overflow(node.number(8), chunk, &first))
        throw Unreadable("a chunk beyond everything");
      entry.first.push_back(first);
    }
  }

  const FileBytes& file_;
  const FileFormat format_;
  const ChunkGrid& grid_;
  const std::uint64_t most_entries_;
  std::vector<std::size_t> order_;  // axes, the slowest one first
  std::set<std::uint64_t> visited_;
  std::vector<ChunkEntry> entries_;
};

}  // namespace

ChunkIndex read_index_message(FileCursor& message, const FileFormat& format, std::size_t axes) {
  constexpr unsigned kSingleFiltered = 2;
  const auto flags = message.number(1);
  if (message.number(1) != axes + 1) throw Unreadable("another rank");
  const auto extent_bytes = message.number(1);
  if (extent_bytes > 8) throw Unreadable("extents of another size");
  message.skip((axes + 1) * extent_bytes);
  ChunkIndex index;
  const auto kind = message.number(1);
  if (kind < 1 || kind > 5) throw Unreadable("an unknown index");
  index.kind = static_cast<ChunkIndex::Kind>(kind);
  switch (index.kind) {
    case ChunkIndex::Kind::single:
      index.filtered = (flags & kSingleFiltered) != 0;
      if (!index.filtered) break;
      index.filtered_bytes = message.number(format.length_bytes);
      index.skip_mask = static_cast<std::uint32_t>(message.number(4));
      break;
    case ChunkIndex::Kind::implicit:
      break;
    case ChunkIndex::Kind::fixed_array:
      message.skip(1);
      break;
    case ChunkIndex::Kind::extensible_array:
      message.skip(5);
      break;
    case ChunkIndex::Kind::tree:
      message.skip(6);
  }
  index.address = message.number(format.address_bytes);
  return index;
}

std::vector<ChunkEntry> read_chunk_index(const FileBytes& file, const FileFormat& format,
                                         const ChunkIndex& index, const ChunkGrid& grid,
                                         std::uint64_t most_entries) {
  return IndexReader(file, format, grid, most_entries).read(index);
}

}  // namespace bunchtrain::data
