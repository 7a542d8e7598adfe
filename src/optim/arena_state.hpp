// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Flat tensors to and from a StateDict, by parameter name, of all or of a part of each arena.

#include <string_view>
#include <vector>

#include "bunchtrain/optim/owned_ranges.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"
#include "bunchtrain/tensor/state_dict.hpp"

namespace bunchtrain::optim {

/// What of an arena is owned, one per arena; empty where nothing is.
using Ownership = std::vector<tensor::ArenaRange>;

/// @throws ConfigError for a range outside of its arena, two of one arena, or ends that are not aligned.
Ownership ownership_of(const tensor::ParameterArenas& arenas, const OwnedRanges& owned);
bool owns_all(const tensor::ParameterArenas& arenas, const Ownership& owned);

/// What is owned of one parameter: elements [begin, begin + count) of its storage.
struct OwnedPart {
  std::size_t arena, segment;
  std::int64_t begin, count;
  std::int64_t in_state;  ///< where it begins in flat tensors of what is owned of the arena

  bool is_whole(const tensor::ParameterArenas& arenas) const {
    return count == arenas[arena].segments()[segment].numel;
  }
};
std::vector<OwnedPart> parts_of(const tensor::ParameterArenas& arenas, const Ownership& owned);

/// The part's elements in `flat` (what is owned of the arena): a whole parameter with its sizes and strides,
/// else [count].
at::Tensor view_of(const OwnedPart& part, const tensor::ParameterArenas& arenas, const at::Tensor& flat);

/// Adds "kind.<parameter>" views of `flat` (one tensor per arena, of what is owned of it): slices, unless
/// everything is owned.
void add_views(StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
               const Ownership& owned, const std::vector<at::Tensor>& flat);

/// @throws CheckpointError naming the first parameter whose "kind.<parameter>" is missing, has another shape,
/// or lacks elements that are owned.
void require_views(const StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
                   const Ownership& owned);

/// Copies what is owned into `flat`, from whole tensors or slices; call `require_views` before.
void copy_views(const StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
                const Ownership& owned, std::vector<at::Tensor>& flat);

}  // namespace bunchtrain::optim
