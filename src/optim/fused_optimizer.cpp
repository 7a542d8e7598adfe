// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/optim/fused_optimizer.hpp"

#include <algorithm>

#include "step_memory.hpp"

namespace bunchtrain::optim {

// Neighbours with equal hyper-parameters are updated together: without groups and frozen parameters, that is
// all of the arena that is owned.
std::vector<UpdateRange> FusedOptimizer::make_ranges(std::size_t arena) {
  const auto segments = arenas()[arena].segments();
  const std::int64_t arena_end = arenas()[arena].values().numel();
  const auto& [number, first, last] = owned(arena);
  std::vector<UpdateRange> ranges;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (!segments[i].requires_grad) continue;
    const HyperParameters own = hyper_parameters_of(segments[i].name);
    const std::int64_t begin = std::max(segments[i].offset, first);
    const std::int64_t end = std::min(i + 1 < segments.size() ? segments[i + 1].offset : arena_end, last);
    if (begin >= end) continue;
    if (!ranges.empty() && ranges.back().end == begin &&
        own == HyperParameters{ranges.back().learning_rate, ranges.back().weight_decay}) {
      ranges.back().end = end;
    } else {
      ranges.push_back({arena, begin, end, begin - first, own.learning_rate, own.weight_decay});
    }
  }
  return ranges;
}

void FusedOptimizer::plan(std::int64_t step) {
  for (std::size_t arena = 0; arena < arenas().size(); ++arena)
    for (const UpdateRange& range : make_ranges(arena)) plan_range(range, memory_of(arena), step);
}

/// Ranges leave out what is frozen, and what others own.
bool FusedOptimizer::moves_averages() const {
  const auto is_trained = [](const tensor::ArenaSegment& segment) { return segment.requires_grad; };
  return owns_all() && std::ranges::all_of(arenas(), [&](const tensor::ParameterArena& arena) {
           return std::ranges::all_of(arena.segments(), is_trained);
         });
}

void FusedOptimizer::apply(const GradientScale& scale, std::int64_t /*step*/) {
  for (const auto& memory : memories()) {
    if (scale.on_device.defined())
      memory->run(scale.on_device.const_data_ptr<double>());
    else
      memory->run(scale.value);
  }
}

}  // namespace bunchtrain::optim
