// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Whether all ranks still hold the same network.

#include <cstdint>
#include <span>

#include "bunchtrain/comm/mesh_shape.hpp"
#include "bunchtrain/mpi/comm.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain::train {

/// Collective. Compares a hash of all parameters over the ranks of each data axis: replicas that started alike and apply the
/// same summed gradients have the same bits. @throws ReplicasDiffer on all ranks, naming the odd ones.
void require_equal_replicas(const comm::MeshShape& mesh, const mpi::Comm& control,
                            std::span<const TrainedNetwork> networks, std::int64_t step);

}  // namespace bunchtrain::train
