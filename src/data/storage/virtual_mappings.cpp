// SPDX-License-Identifier: Apache-2.0
#include "virtual_mappings.hpp"

#include <algorithm>
#include <optional>

#include "hdf5_library.hpp"

namespace bunchtrain::data {
namespace {

using hdf5::check;
using Extents = std::vector<hsize_t>;

constexpr std::uint64_t kNextFiles = 16;

// A regular selection: along each axis `count` blocks of `block` elements, `stride` apart.
struct Slab {
  Extents shape, start, stride, count, block;

  std::size_t rank() const { return start.size(); }
  bool is_consecutive(std::size_t axis) const { return count[axis] == 1 || stride[axis] == block[axis]; }
  bool is_unlimited(std::size_t axis) const {
    return count[axis] == H5S_UNLIMITED || block[axis] == H5S_UNLIMITED;
  }
  bool is_consecutive_without_end(std::size_t axis) const {
    return block[axis] == H5S_UNLIMITED || (count[axis] == H5S_UNLIMITED && stride[axis] == block[axis]);
  }
  std::uint64_t elements(std::size_t axis) const { return count[axis] * block[axis]; }
  bool has_whole_rows(const Extents& of) const {
    if (rank() != of.size()) return false;
    for (std::size_t axis = 1; axis < rank(); ++axis)
      if (is_unlimited(axis) || start[axis] != 0 || !is_consecutive(axis) || elements(axis) != of[axis])
        return false;
    return true;
  }
  // What of an unlimited axis lies within `extent`.
  void limit(std::size_t axis, hsize_t extent) {
    const hsize_t room = extent - std::min(extent, start[axis]);
    if (block[axis] == H5S_UNLIMITED) block[axis] = room;
    if (count[axis] == H5S_UNLIMITED) count[axis] = (room + stride[axis] - 1) / stride[axis];
  }
};

std::optional<Slab> slab_of(hid_t space, const std::string& where) {
  const auto rank = static_cast<std::size_t>(check(H5Sget_simple_extent_ndims(space), where));
  Slab slab{Extents(rank), Extents(rank, 0), Extents(rank, 1), Extents(rank, 1), Extents(rank)};
  check(H5Sget_simple_extent_dims(space, slab.shape.data(), nullptr), where);
  slab.block = slab.shape;
  const H5S_sel_type selected = H5Sget_select_type(space);
  if (selected == H5S_SEL_ALL) return slab;
  if (selected != H5S_SEL_HYPERSLABS || H5Sis_regular_hyperslab(space) <= 0) return std::nullopt;
  check(H5Sget_regular_hyperslab(space, slab.start.data(), slab.stride.data(), slab.count.data(),
                                 slab.block.data()),
        where);
  return slab;
}

template <class Get>
std::string text_of(const Get& get, const std::string& where) {
  const auto length = static_cast<std::size_t>(check(get(nullptr, 0), where));
  std::string text(length + 1, '\0');
  check(get(text.data(), text.size()), where);
  text.resize(length);
  return text;
}

bool is_numbered(const std::string& name) {
  for (std::size_t at = name.find('%'); at != std::string::npos && at + 1 < name.size();
       at = name.find('%', at + 2))
    if (name[at + 1] == 'b') return true;
  return false;
}

// "%b" is the number, "%%" a percent sign.
std::string with_number(const std::string& name, std::uint64_t number) {
  std::string text;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char next = name[i] == '%' && i + 1 < name.size() ? name[i + 1] : '\0';
    if (next == 'b') text += std::to_string(number);
    if (next == '%') text += '%';
    if (next == 'b' || next == '%') {
      ++i;
    } else {
      text += name[i];
    }
  }
  return text;
}

class MappingReader {
 public:
  MappingReader(hid_t create, const DatasetLayout& layout, const std::string& where)
      : create_(create),
        layout_(layout),
        where_(where),
        rest_(check(H5Screate_simple(static_cast<int>(layout.shape.size()), layout.shape.data(), nullptr),
                    where)) {}

  VirtualMappings read() {
    std::size_t count = 0;
    check(H5Pget_virtual_count(create_, &count), where_);
    for (std::size_t i = 0; i < count; ++i) read_one(i);
    result_.unmapped = unmapped();
    return std::move(result_);
  }

 private:
  void read_one(std::size_t index) {
    VirtualMapping mapping;
    mapping.file = text_of(
        [&](char* text, std::size_t size) { return H5Pget_virtual_filename(create_, index, text, size); },
        where_);
    mapping.dataset = text_of(
        [&](char* text, std::size_t size) { return H5Pget_virtual_dsetname(create_, index, text, size); },
        where_);
    const hdf5::Dataspace target(check(H5Pget_virtual_vspace(create_, index), where_));
    const hdf5::Dataspace source(check(H5Pget_virtual_srcspace(create_, index), where_));
    auto slab = slab_of(target.get(), where_);
    if (!slab) return add_irregular(std::move(mapping), target.get());
    add(std::move(mapping), *slab, slab_of(source.get(), where_));
  }

  void add(VirtualMapping mapping, Slab target, const std::optional<Slab>& source) {
    const bool numbered = is_numbered(mapping.file) || is_numbered(mapping.dataset);
    for (std::size_t axis = 0; axis < target.rank(); ++axis) target.limit(axis, layout_.shape[axis]);
    const bool source_is_by_rows = is_by_rows(source);
    if (source_is_by_rows && source->rank() > 0) mapping.source_first = source->start[0];
    if (numbered) return add_numbered(mapping, target, source_is_by_rows);
    mapping.file = with_number(mapping.file, 0);  // %% is a percent sign
    mapping.dataset = with_number(mapping.dataset, 0);
    mapping.by_rows = source_is_by_rows && target.is_consecutive(0) && target.has_whole_rows(layout_.shape);
    const std::uint64_t last =
        target.count[0] == 0 ? 0 : (target.count[0] - 1) * target.stride[0] + target.block[0];
    mapping.rows = clipped(target.start[0], last);
    cover(target, mapping);
    result_.all.push_back(std::move(mapping));
  }

  // All of a source of which HDF5 does not know the shape, having never opened it, has no axes.
  static bool is_by_rows(const std::optional<Slab>& source) {
    if (!source) return false;
    return source->rank() == 0 || ((source->is_consecutive(0) || source->is_consecutive_without_end(0)) &&
                                   source->has_whole_rows(source->shape));
  }

  // One block of rows from each file.
  void add_numbered(const VirtualMapping& mapping, const Slab& target, bool source_is_by_rows) {
    const auto block = [&](std::uint64_t number) {
      VirtualMapping one = mapping;
      one.file = with_number(mapping.file, number);
      one.dataset = with_number(mapping.dataset, number);
      return one;
    };
    for (std::uint64_t number = 0; number < target.count[0]; ++number) {
      VirtualMapping one = block(number);
      one.by_rows = source_is_by_rows && target.has_whole_rows(layout_.shape);
      one.rows = clipped(target.start[0] + number * target.stride[0], target.block[0]);
      Slab part = target;
      part.start[0] = one.rows.first;
      part.count[0] = 1;
      cover(part, one);
      result_.all.push_back(std::move(one));
    }
    if (!is_numbered(mapping.file)) return;
    for (std::uint64_t i = 0; i < kNextFiles; ++i)
      result_.next_files.push_back(block(target.count[0] + i).file);
  }

  void add_irregular(VirtualMapping mapping, hid_t target) {
    mapping.file = with_number(mapping.file, 0);
    mapping.dataset = with_number(mapping.dataset, 0);
    Extents first(layout_.shape.size()), last(layout_.shape.size());
    check(H5Sget_select_bounds(target, first.data(), last.data()), where_);
    mapping.rows = clipped(first[0], last[0] - first[0] + 1);
    odd_ = true;
    const auto blocks = static_cast<hsize_t>(check(H5Sget_select_hyper_nblocks(target), where_));
    std::vector<hsize_t> corners(2 * layout_.shape.size() * blocks);
    check(H5Sget_select_hyper_blocklist(target, 0, blocks, corners.data()), where_);
    for (std::size_t at = 0; at < corners.size(); at += 2 * layout_.shape.size())
      take_block(corners.data() + at);
    result_.all.push_back(std::move(mapping));
  }

  RowSpan clipped(std::uint64_t first, std::uint64_t count) const {
    const std::uint64_t rows = layout_.rows();
    return {first, std::min(count, rows - std::min(first, rows))};
  }

  void cover(const Slab& slab, const VirtualMapping& mapping) {
    const bool whole = slab.has_whole_rows(layout_.shape) && slab.is_consecutive(0);
    if (!whole) odd_ = true;
    if (whole) covered_.push_back(mapping.rows);
    take(slab);
  }

  void take(const Slab& slab) {
    const auto is_empty = [](hsize_t extent) { return extent == 0; };
    if (!odd_ || std::ranges::any_of(slab.count, is_empty) || std::ranges::any_of(slab.block, is_empty))
      return;
    check(H5Sselect_hyperslab(rest_.get(), H5S_SELECT_NOTB, slab.start.data(), slab.stride.data(),
                              slab.count.data(), slab.block.data()),
          where_);
  }

  void take_block(const hsize_t* corners) {
    const std::size_t rank = layout_.shape.size();
    Slab slab{layout_.shape, Extents(corners, corners + rank), Extents(rank, 1), Extents(rank, 1),
              Extents(rank)};
    for (std::size_t axis = 0; axis < rank; ++axis)
      slab.block[axis] = corners[rank + axis] - corners[axis] + 1;
    take(slab);
  }

  RowSpans unmapped() {
    const RowSpans others = complement(normalised(covered_), layout_.rows());
    if (!odd_ || others.empty()) return others;
    // Rows that are mapped in parts: what is left of the dataset when all mappings are taken away.
    for (const RowSpan& span : covered_) {
      Slab slab{layout_.shape, Extents(layout_.shape.size(), 0), Extents(layout_.shape.size(), 1),
                Extents(layout_.shape.size(), 1), layout_.shape};
      slab.start[0] = span.first;
      slab.block[0] = span.count;
      take(slab);
    }
    const hssize_t left = check(H5Sget_select_npoints(rest_.get()), where_);
    if (left == 0) return {};
    const auto blocks = static_cast<hsize_t>(check(H5Sget_select_hyper_nblocks(rest_.get()), where_));
    const std::size_t rank = layout_.shape.size();
    std::vector<hsize_t> corners(2 * rank * blocks);
    check(H5Sget_select_hyper_blocklist(rest_.get(), 0, blocks, corners.data()), where_);
    RowSpans rows;
    for (std::size_t at = 0; at < corners.size(); at += 2 * rank)
      rows.push_back({corners[at], corners[at + rank] - corners[at] + 1});
    return normalised(std::move(rows));
  }

  hid_t create_;
  const DatasetLayout& layout_;
  const std::string& where_;
  hdf5::Dataspace rest_;  // not yet mapped; kept up to date only if some mapping has no whole rows
  bool odd_ = false;
  RowSpans covered_;
  VirtualMappings result_;
};

}  // namespace

VirtualMappings read_mappings(hid_t create, const DatasetLayout& layout, const std::string& where) {
  return MappingReader(create, layout, where).read();
}

}  // namespace bunchtrain::data
