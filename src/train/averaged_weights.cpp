// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/detail/averaged_weights.hpp"

#include <fmt/format.h>

#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {

NamedTensors averaged_weights(const checkpoint::Store& store, const checkpoint::SnapshotInfo& info,
                              const NamedTensors& weights, std::string_view network) {
  if (!info.metadata.contains(kAverageKey)) return weights;
  const std::string component = network.empty() ? "ema" : fmt::format("{}-ema", network);
  const auto snapshot = store.load(info.folder.filename().string(), {component});
  const NamedTensors& averages = snapshot.value().components.at(component).tensors;
  NamedTensors averaged;
  std::size_t used = 0;
  for (const auto& [name, tensor] : weights) {
    const at::Tensor* average = averages.find("average." + name);
    averaged.set(name, average ? *average : tensor);
    used += average != nullptr;
  }
  if (used != averages.size())
    throw CheckpointError(
        fmt::format("the averages in {} are of other parameters than its weights: average off "
                    "takes the weights as they were trained",
                    info.folder.string()));
  return averaged;
}

}  // namespace bunchtrain::train
