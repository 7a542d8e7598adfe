// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Flat tensors to and from a StateDict, by parameter name.

#include <string_view>
#include <vector>

#include "bunchtrain/tensor/parameter_arena.hpp"
#include "bunchtrain/tensor/state_dict.hpp"

namespace bunchtrain::optim {

/// Adds "kind.<parameter>" views of `flat` (one tensor per arena).
void add_views(StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
               const std::vector<at::Tensor>& flat);

/// @throws CheckpointError naming the first parameter whose "kind.<parameter>" is
/// missing or has another shape.
void require_views(const StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas);

/// Copies what `add_views` wrote back into `flat`; call `require_views` before.
void copy_views(const StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
                std::vector<at::Tensor>& flat);

}  // namespace bunchtrain::optim
