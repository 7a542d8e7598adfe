// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The averaged weights of a snapshot, of a run with `--ema`.

#include <string_view>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::train {

/// Key of the snapshot's metadata that says the decay; absent: there are no averages.
inline constexpr const char* kAverageKey = "ema";

/// Collective. Parameters and buffers of a network, the parameters averaged if the snapshot has averages.
/// @param weights of its component "model" or "NAME-model" @param network NAME; empty: the run has one
/// @throws CheckpointError if the averages are damaged or belong to another network
NamedTensors averaged_weights(const checkpoint::Store& store, const checkpoint::SnapshotInfo& info,
                              const NamedTensors& weights, std::string_view network = {});

}  // namespace bunchtrain::train
