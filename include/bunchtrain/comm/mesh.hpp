// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The ranks of a job along named axes, with a communicator for each axis.

#include <memory>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/comm/mesh_shape.hpp"

namespace bunchtrain::comm {

/// A rank has coordinates, not a number: whoever sums gradients means the data axis, whoever sends
/// activations the pipeline axis. Cheap to copy (shared state). Use from one thread.
class Mesh {
 public:
  /// All ranks of `world` in the shape. @throws ConfigError if it has another number of ranks.
  Mesh(Communicator world, MeshShape shape);

  /// Collective over all ranks at the first call for an axis. An axis that all ranks lie along is the world's
  /// own communicator; else it is a part of it, named as the axis. All share the world's control channel: a failure
  /// along one axis ends the waiting along all.
  Communicator axis(Axis axis);
  const Communicator& world() const noexcept;
  const MeshShape& shape() const noexcept;
  /// Of this rank.
  int coordinate(Axis axis) const noexcept;
  int size(Axis axis) const noexcept { return shape().size(axis); }
  /// Whether this rank is the first of those that share its place along the axis: what all of them know counts once in a
  /// sum over all ranks if these alone give it.
  bool leads(Axis axis) const noexcept;

  /// Collective: closes the communicators made here, not the world.
  void close();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace bunchtrain::comm
