// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How the ranks of a job are laid out: a size for each way of being parallel. No communication.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::comm {

/// What a rank is one of: a replica that sees other samples, a stage of the network, a part of its layers'
/// products, a slab of the images.
enum class Axis { data, pipeline, tensor, spatial };
inline constexpr std::array kAxes = {Axis::data, Axis::pipeline, Axis::tensor, Axis::spatial};

std::string_view to_string(Axis axis) noexcept;
/// @throws ConfigError with the names allowed.
Axis parse_axis(std::string_view text);

/// Sizes of the axes and the order of ranks. Along the fastest axis neighbours are consecutive ranks, which
/// launchers put on one node: by default tensor, then spatial, pipeline, data, from who talks most to who
/// talks least. An axis that is not named has size 1.
class MeshShape {
 public:
  /// All ranks along the data axis.
  explicit MeshShape(int world = 1);
  /// "data=2,pipeline=4"; the order in the text has no meaning. "spatial=2x3" are slabs along x and y, "spatial=1x1x2" along z
  /// alone, "spatial=2" along x. "" means all ranks along the data axis;
  /// without "data" that axis takes what the others leave.
  /// @param order axes from the fastest on, "tensor,spatial,pipeline,data"; "" for that
  /// @throws ConfigError (fields "mesh", "mesh-order") if the sizes do not multiply to `world`
  static MeshShape parse(std::string_view text, int world, std::string_view order = {});

  int world() const noexcept;
  int size(Axis axis) const noexcept { return sizes_[index(axis)]; }
  /// How the ranks of the spatial axis lie along x, y, z; those along z are consecutive.
  const std::array<int, 3>& slabs() const noexcept { return slabs_; }
  /// Where a rank stands along an axis, from 0.
  int coordinate(int rank, Axis axis) const noexcept;
  /// The ranks that differ from `rank` along `axis` only, itself among them, in the order of the axis.
  std::vector<int> group_of(int rank, Axis axis) const;
  /// "data=2,spatial=2x2": the axes longer than one; "data=1" if there is none.
  std::string to_string() const;

  bool operator==(const MeshShape&) const = default;

 private:
  static std::size_t index(Axis axis) noexcept { return static_cast<std::size_t>(axis); }
  int stride(Axis axis) const noexcept;

  std::array<int, kAxes.size()> sizes_ = {1, 1, 1, 1};
  std::array<int, 3> slabs_ = {1, 1, 1};
  std::array<Axis, kAxes.size()> fastest_first_ = {Axis::tensor, Axis::spatial, Axis::pipeline, Axis::data};
};

}  // namespace bunchtrain::comm
