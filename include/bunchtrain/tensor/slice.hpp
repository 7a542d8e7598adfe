// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Parts of tensors that are spread over ranks, and how one part is filled from others.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bunchtrain::tensor {

/// Elements of a whole tensor that somebody holds: a box, held row-major, or a range of the whole tensor's storage (a rank's
/// part of an arena cuts tensors in mid-row), held as it lies there.
struct Slice {
  std::vector<std::int64_t> shape;  ///< of the whole tensor
  /// Of a box: its first element; its sizes. Both as many as `shape`.
  std::vector<std::int64_t> offset = {}, sizes = {};
  /// Of a range: elements [begin, begin + count) in the order of storage, which the strides say (in elements; any dense
  /// permutation of the axes, such as channels-last). Empty for a box.
  std::vector<std::int64_t> strides = {};
  std::int64_t begin = 0, count = 0;

  static Slice whole(at::IntArrayRef shape);
  static Slice box(at::IntArrayRef shape, at::IntArrayRef offset, at::IntArrayRef sizes);
  static Slice range(at::IntArrayRef shape, at::IntArrayRef strides, std::int64_t begin, std::int64_t count);

  bool is_range() const noexcept { return !strides.empty(); }
  bool is_whole() const noexcept;
  std::int64_t numel() const noexcept;
  /// Sizes of the tensor that holds it: those of the box, or [count].
  std::vector<std::int64_t> held_sizes() const;
  /// "[2:4, 0:3] of [8, 3]", "elements 5 to 11 of [8, 3]".
  std::string to_string() const;
  /// @throws CheckpointError if it lies outside of the whole, or the strides are not dense.
  void validate() const;

  bool operator==(const Slice&) const = default;
};

/// Whether the two have an element in common. Both of one whole.
bool overlap(const Slice& a, const Slice& b);

/// What of a held slice another one needs: the range of its elements, in the order in which they are held, that has all of
/// them. Empty (count 0) without a common element.
struct HeldRange {
  std::int64_t begin = 0, count = 0;
};
HeldRange needed_of(const Slice& held, const Slice& wanted);

/// Copies the elements that both have. `source` holds `range` of `from`; `target` holds all of `to`. Each of one dtype, on the
/// CPU, contiguous.
void copy_common(const at::Tensor& source, const Slice& from, HeldRange range, const at::Tensor& target,
                 const Slice& to);

}  // namespace bunchtrain::tensor
