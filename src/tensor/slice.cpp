// SPDX-License-Identifier: Apache-2.0
// Everything is boxes: a range of storage is at most two boxes per axis, in the order of its axes. A box knows where it lies
// in the whole and where in what is held.
#include "bunchtrain/tensor/slice.hpp"

#include <ATen/ops/as_strided.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::tensor {
namespace {

using Sizes = std::vector<std::int64_t>;

std::int64_t product(const Sizes& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies{});
}

Sizes row_major(const Sizes& sizes) {
  Sizes strides(sizes.size(), 1);
  for (std::size_t axis = sizes.size(); axis-- > 1;)
    strides[axis - 1] = strides[axis] * std::max<std::int64_t>(sizes[axis], 1);
  return strides;
}

struct HeldBox {
  Sizes offset, sizes;  ///< in the whole
  std::int64_t first;   ///< among the held elements
  Sizes strides;        ///< of the held elements
};

/// Axes from the slowest to the fastest in storage.
std::vector<std::size_t> storage_order(const Slice& range) {
  std::vector<std::size_t> axes(range.shape.size());
  std::iota(axes.begin(), axes.end(), std::size_t{0});
  // An axis of one element lies anywhere, whatever its stride says.
  std::ranges::stable_sort(axes, std::greater{}, [&](std::size_t axis) {
    return std::pair(range.strides[axis], range.shape[axis] == 1 ? 0 : range.shape[axis]);
  });
  return axes;
}

/// Cuts [begin, end) of the storage into boxes.
class RangeCutter {
 public:
  explicit RangeCutter(const Slice& range) : range_(range), axes_(storage_order(range)) {}

  std::vector<HeldBox> cut() && {
    HeldBox place{.offset = Sizes(range_.shape.size(), 0),
                  .sizes = range_.shape,
                  .first = 0,
                  .strides = range_.strides};
    if (range_.count > 0) cut(0, range_.begin, range_.begin + range_.count, place);
    return std::move(boxes_);
  }

 private:
  /// Elements below one step along the axis at `depth`.
  std::int64_t inner(std::size_t depth) const {
    std::int64_t count = 1;
    for (std::size_t next = depth + 1; next < axes_.size(); ++next) count *= range_.shape[axes_[next]];
    return count;
  }

  void cut(std::size_t depth, std::int64_t begin, std::int64_t end, const HeldBox& place) {
    if (depth == axes_.size()) return keep(place);
    const std::int64_t below = inner(depth);
    const std::int64_t first_whole = (begin + below - 1) / below, end_whole = end / below;
    if (first_whole > end_whole)
      return cut_step(depth, begin / below, begin % below, end - begin / below * below, place);
    if (begin % below != 0) cut_step(depth, first_whole - 1, begin % below, below, place);
    if (first_whole < end_whole) keep(along(depth, first_whole, end_whole - first_whole, place));
    if (end % below != 0) cut_step(depth, end_whole, 0, end % below, place);
  }

  void cut_step(std::size_t depth, std::int64_t step, std::int64_t begin, std::int64_t end,
                const HeldBox& place) {
    cut(depth + 1, begin, end, along(depth, step, 1, place));
  }

  HeldBox along(std::size_t depth, std::int64_t step, std::int64_t steps, HeldBox place) const {
    place.offset[axes_[depth]] = step;
    place.sizes[axes_[depth]] = steps;
    return place;
  }

  void keep(HeldBox box) {
    box.first = std::inner_product(box.offset.begin(), box.offset.end(), box.strides.begin(), -range_.begin);
    boxes_.push_back(std::move(box));
  }

  const Slice& range_;
  std::vector<std::size_t> axes_;
  std::vector<HeldBox> boxes_;
};

std::vector<HeldBox> boxes_of(const Slice& slice) {
  if (slice.is_range()) return RangeCutter(slice).cut();
  if (slice.numel() == 0) return {};
  return {{.offset = slice.offset, .sizes = slice.sizes, .first = 0, .strides = row_major(slice.sizes)}};
}

/// What two boxes have in common, as it lies in the first.
std::optional<HeldBox> common(const HeldBox& a, const HeldBox& b) {
  HeldBox both = a;
  for (std::size_t axis = 0; axis < a.offset.size(); ++axis) {
    const std::int64_t begin = std::max(a.offset[axis], b.offset[axis]);
    const std::int64_t end = std::min(a.offset[axis] + a.sizes[axis], b.offset[axis] + b.sizes[axis]);
    if (begin >= end) return std::nullopt;
    both.first += (begin - a.offset[axis]) * a.strides[axis];
    both.offset[axis] = begin;
    both.sizes[axis] = end - begin;
  }
  return both;
}

/// The last of its elements among those held.
std::int64_t last_of(const HeldBox& box) {
  std::int64_t last = box.first;
  for (std::size_t axis = 0; axis < box.sizes.size(); ++axis)
    last += (box.sizes[axis] - 1) * box.strides[axis];
  return last;
}

template <class Visit>
void for_each_common(const Slice& a, const Slice& b, Visit visit) {
  expects(a.shape == b.shape, "slices that are compared are of one tensor");
  const auto theirs = boxes_of(b);
  for (const HeldBox& one : boxes_of(a))
    for (const HeldBox& other : theirs)
      if (const auto both = common(one, other)) visit(*both, *common(other, one));
}

[[noreturn]] void refuse(const Slice& slice, const char* why) {
  throw CheckpointError("a slice, " + slice.to_string() + ", " + why);
}

std::string list(const Sizes& sizes) {
  std::ostringstream text;
  text << '[';
  for (std::size_t i = 0; i < sizes.size(); ++i) text << (i == 0 ? "" : ", ") << sizes[i];
  text << ']';
  return text.str();
}

/// No two elements at one place, and no hole.
bool is_dense(const Slice& range) {
  std::int64_t expected = 1;
  const auto axes = storage_order(range);
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    if (range.shape[*axis] == 1) continue;
    if (range.strides[*axis] != expected) return false;
    expected *= range.shape[*axis];
  }
  return true;
}

bool counts_fit(const Sizes& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, std::max<std::int64_t>(size, 1), &count)) return false;
  return true;
}

}  // namespace

Slice Slice::whole(at::IntArrayRef shape) { return box(shape, Sizes(shape.size(), 0), shape); }

Slice Slice::box(at::IntArrayRef shape, at::IntArrayRef offset, at::IntArrayRef sizes) {
  return {.shape = shape.vec(), .offset = offset.vec(), .sizes = sizes.vec()};
}

Slice Slice::range(at::IntArrayRef shape, at::IntArrayRef strides, std::int64_t begin, std::int64_t count) {
  // A scalar has no strides: it is a box.
  if (shape.empty()) return whole(shape);
  return {.shape = shape.vec(), .strides = strides.vec(), .begin = begin, .count = count};
}

bool Slice::is_whole() const noexcept { return !is_range() && sizes == shape; }

std::int64_t Slice::numel() const noexcept { return is_range() ? count : product(sizes); }

std::vector<std::int64_t> Slice::held_sizes() const { return is_range() ? Sizes{count} : sizes; }

std::string Slice::to_string() const {
  std::ostringstream text;
  if (is_range()) {
    text << "elements " << begin << " to " << begin + count;
  } else {
    text << '[';
    for (std::size_t axis = 0; axis < offset.size(); ++axis)
      text << (axis == 0 ? "" : ", ") << offset[axis] << ':' << offset[axis] + sizes[axis];
    text << ']';
  }
  text << " of " << list(shape);
  return text.str();
}

void Slice::validate() const {
  if (!counts_fit(shape)) refuse(*this, "is of a tensor whose elements cannot be counted");
  if (is_range()) {
    if (strides.size() != shape.size() || !is_dense(*this)) refuse(*this, "has strides that are not dense");
    if (begin < 0 || count < 0 || begin > product(shape) - count) refuse(*this, "lies outside of the tensor");
    return;
  }
  if (offset.size() != shape.size() || sizes.size() != shape.size())
    refuse(*this, "has another number of axes");
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    if (offset[axis] < 0 || sizes[axis] < 0 || offset[axis] > shape[axis] - sizes[axis])
      refuse(*this, "lies outside of the tensor");
}

bool overlap(const Slice& a, const Slice& b) {
  bool found = false;
  for_each_common(a, b, [&](const HeldBox&, const HeldBox&) { found = true; });
  return found;
}

HeldRange needed_of(const Slice& held, const Slice& wanted) {
  std::int64_t begin = held.numel(), end = 0;
  for_each_common(held, wanted, [&](const HeldBox& mine, const HeldBox&) {
    begin = std::min(begin, mine.first);
    end = std::max(end, last_of(mine) + 1);
  });
  return end == 0 ? HeldRange{} : HeldRange{.begin = begin, .count = end - begin};
}

void copy_common(const at::Tensor& source, const Slice& from, HeldRange range, const at::Tensor& target,
                 const Slice& to) {
  const at::Tensor flat_source = source.view({-1}), flat_target = target.view({-1});
  for_each_common(from, to, [&](const HeldBox& there, const HeldBox& here) {
    flat_target.as_strided(here.sizes, here.strides, flat_target.storage_offset() + here.first)
        .copy_(flat_source.as_strided(there.sizes, there.strides,
                                      flat_source.storage_offset() + there.first - range.begin));
  });
}

}  // namespace bunchtrain::tensor
