// SPDX-License-Identifier: Apache-2.0
/// Ranks are numbers of mixed base: rank = sum of coordinate times stride, the stride of an axis being the
/// product of the sizes of all faster axes.
#include "bunchtrain/comm/mesh_shape.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm {
namespace {

constexpr std::array<std::string_view, kAxes.size()> kNames = {"data", "pipeline", "tensor", "spatial"};

std::vector<std::string_view> split_at(char separator, std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return parts;
}

int parse_size(std::string_view part, std::string_view number) {
  int size = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), size);
  if (error != std::errc() || end != number.data() + number.size() || size < 1)
    throw ConfigError("mesh", part, "AXIS=N with at least one rank");
  return size;
}

/// "2x3" as 2, 3, 1.
std::array<int, 3> parse_slabs(std::string_view part, std::string_view numbers) {
  const auto along = split_at('x', numbers);
  if (along.size() > 3 || numbers.ends_with('x'))
    throw ConfigError("mesh", part, "spatial=N, NxN or NxNxN: slabs along x, y, z");
  std::array<int, 3> slabs = {parse_size(part, along.empty() ? numbers : along[0]), 1, 1};
  for (std::size_t axis = 1; axis < along.size(); ++axis) slabs[axis] = parse_size(part, along[axis]);
  return slabs;
}

/// Of more ranks than any world has it is that many.
int product_of(const std::array<int, 3>& sizes) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  std::int64_t product = 1;
  for (const int size : sizes) product = std::min(kMost, product * size);
  return static_cast<int>(product);
}

std::array<Axis, kAxes.size()> parse_order(std::string_view text) {
  std::vector<Axis> axes;
  for (const std::string_view name : split_at(',', text)) axes.push_back(parse_axis(name));
  const bool each_once = axes.size() == kAxes.size() && std::ranges::all_of(kAxes, [&](Axis axis) {
                           return std::ranges::count(axes, axis) == 1;
                         });
  if (!each_once)
    throw ConfigError("mesh-order", text,
                      fmt::format("each of {} once, the fastest first", fmt::join(kNames, ", ")));
  std::array<Axis, kAxes.size()> order{};
  std::ranges::copy(axes, order.begin());
  return order;
}

/// "2x3": without the last axes that are not cut.
std::string slabs_text(const std::array<int, 3>& slabs) {
  const std::size_t axes = slabs[2] > 1 ? 3 : slabs[1] > 1 ? 2 : 1;
  return fmt::format("{}", fmt::join(slabs.begin(), slabs.begin() + axes, "x"));
}

}  // namespace

std::string_view to_string(Axis axis) noexcept { return kNames[static_cast<std::size_t>(axis)]; }

Axis parse_axis(std::string_view text) {
  for (const Axis axis : kAxes)
    if (to_string(axis) == text) return axis;
  throw ConfigError("axis", text, fmt::format("{}", fmt::join(kNames, ", ")));
}

MeshShape::MeshShape(int world) { sizes_[index(Axis::data)] = world; }

MeshShape MeshShape::parse(std::string_view text, int world, std::string_view order) {
  MeshShape shape;
  if (!order.empty()) shape.fastest_first_ = parse_order(order);
  std::array<std::optional<int>, kAxes.size()> given;
  for (const std::string_view part : split_at(',', text)) {
    const std::size_t equals = std::min(part.find('='), part.size());
    const Axis axis = parse_axis(part.substr(0, equals));
    const std::string_view number = part.substr(std::min(part.size(), equals + 1));
    auto& size = given[index(axis)];
    if (size) throw ConfigError("mesh", text, "each axis at most once");
    if (axis == Axis::spatial) {
      shape.slabs_ = parse_slabs(part, number);
      size = product_of(shape.slabs_);
    } else {
      size = parse_size(part, number);
    }
  }
  std::int64_t others = 1;
  for (const Axis axis : kAxes) {
    shape.sizes_[index(axis)] = given[index(axis)].value_or(1);
    if (axis != Axis::data) others *= shape.size(axis);
    if (others > world) break;
  }
  auto& data = given[index(Axis::data)];
  if (!data && others <= world && world % others == 0) data = static_cast<int>(world / others);
  shape.sizes_[index(Axis::data)] = data.value_or(1);
  if (others > world || others * shape.size(Axis::data) != world) {
    throw ConfigError("mesh", text,
                      fmt::format("sizes whose product is the number of ranks, {}: change them or start "
                                  "another number of ranks",
                                  world));
  }
  return shape;
}

int MeshShape::world() const noexcept {
  int product = 1;
  for (const int size : sizes_) product *= size;
  return product;
}

int MeshShape::stride(Axis axis) const noexcept {
  int product = 1;
  for (const Axis faster : fastest_first_) {
    if (faster == axis) break;
    product *= size(faster);
  }
  return product;
}

int MeshShape::coordinate(int rank, Axis axis) const noexcept { return rank / stride(axis) % size(axis); }

std::vector<int> MeshShape::group_of(int rank, Axis axis) const {
  const int first = rank - coordinate(rank, axis) * stride(axis);
  std::vector<int> ranks;
  for (int i = 0; i < size(axis); ++i) ranks.push_back(first + i * stride(axis));
  return ranks;
}

std::string MeshShape::to_string() const {
  std::vector<std::string> parts;
  for (const Axis axis : kAxes)
    if (size(axis) > 1)
      parts.push_back(fmt::format("{}={}", comm::to_string(axis),
                                  axis == Axis::spatial ? slabs_text(slabs_) : std::to_string(size(axis))));
  return parts.empty() ? "data=1" : fmt::format("{}", fmt::join(parts, ","));
}

}  // namespace bunchtrain::comm
