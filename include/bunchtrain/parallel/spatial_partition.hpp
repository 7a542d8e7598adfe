// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The slabs of images over the ranks of a communicator.

#include <array>
#include <memory>
#include <optional>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/nn/spatial_partition.hpp"

namespace bunchtrain::parallel {

struct SpatialPartitionOptions {
  /// Slabs along x, y, z, as many as ranks; zeros: all along x.
  std::array<int, 3> grid = {};
  /// Whether layers compute what needs no halo beside its journey, and its rims afterwards; not said: with nccl. MPI moves
  /// large messages of the CPU only while somebody polls them, and rims cost more than one convolution of all.
  std::optional<bool> overlaps = {};
};

/// Slabs over the ranks of `communicator` in its order: rank 0 at the beginning, ranks that follow one another along z, then y,
/// then x. Halos travel from whoever has them, also over several neighbours where slabs are thin. `nn::set_partition` gives it
/// to a network; `DataParallelOptions::spatial` does so for a training.
/// @throws ConfigError if the grid has another number of slabs than there are ranks.
std::shared_ptr<nn::SpatialPartition> create_spatial_partition(comm::Communicator communicator,
                                                               SpatialPartitionOptions options = {});

}  // namespace bunchtrain::parallel
