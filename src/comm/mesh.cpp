// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/comm/mesh.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm {

struct Mesh::Impl {
  Communicator world;
  MeshShape shape;
  std::array<std::optional<Communicator>, kAxes.size()> parts = {};
};

Mesh::Mesh(Communicator world, MeshShape shape) {
  if (shape.world() != world.size())
    throw ConfigError("mesh", shape.to_string(), fmt::format("sizes whose product is {}", world.size()));
  impl_ = std::make_shared<Impl>(Impl{std::move(world), std::move(shape)});
}

const Communicator& Mesh::world() const noexcept { return impl_->world; }
const MeshShape& Mesh::shape() const noexcept { return impl_->shape; }
int Mesh::coordinate(Axis axis) const noexcept { return impl_->shape.coordinate(impl_->world.rank(), axis); }

bool Mesh::leads(Axis axis) const noexcept {
  return std::ranges::all_of(kAxes, [&](Axis other) { return other == axis || coordinate(other) == 0; });
}

Communicator Mesh::axis(Axis axis) {
  if (size(axis) == impl_->world.size()) return impl_->world;
  auto& part = impl_->parts[static_cast<std::size_t>(axis)];
  if (!part) {
    // Ranks of one group share its first rank.
    const int color = impl_->shape.group_of(impl_->world.rank(), axis).front();
    part = impl_->world.split(color, coordinate(axis), std::string(to_string(axis)));
  }
  return *part;
}

void Mesh::close() {
  for (auto& part : impl_->parts) {
    if (part) part->close();
    part.reset();
  }
}

}  // namespace bunchtrain::comm
