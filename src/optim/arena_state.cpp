// SPDX-License-Identifier: Apache-2.0
#include "arena_state.hpp"

#include <ATen/core/grad_mode.h>

#include <sstream>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::optim {

namespace {

std::string entry_name(std::string_view kind, const tensor::ArenaSegment& segment) {
  return std::string(kind) + "." + segment.name;
}

template <class Visit>
void for_each_segment(const tensor::ParameterArenas& arenas, Visit visit) {
  for (std::size_t arena = 0; arena < arenas.size(); ++arena) {
    for (std::size_t segment = 0; segment < arenas[arena].segments().size(); ++segment) visit(arena, segment);
  }
}

}  // namespace

void add_views(StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
               const std::vector<at::Tensor>& flat) {
  for_each_segment(arenas, [&](std::size_t arena, std::size_t segment) {
    state.tensors.set(entry_name(kind, arenas[arena].segments()[segment]),
                      arenas[arena].view(flat[arena], segment));
  });
}

void require_views(const StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas) {
  for_each_segment(arenas, [&](std::size_t arena, std::size_t segment) {
    const std::string name = entry_name(kind, arenas[arena].segments()[segment]);
    const at::Tensor* const found = state.tensors.find(name);
    if (found == nullptr) {
      throw CheckpointError("state has no \"" + name + "\": it belongs to another model or optimizer");
    }
    const at::Tensor& parameter = arenas[arena].parameter(segment);
    if (found->sizes() != parameter.sizes()) {
      std::ostringstream text;
      text << "state \"" << name << "\" has shape " << found->sizes() << ", this model needs "
           << parameter.sizes();
      throw CheckpointError(text.str());
    }
  });
}

void copy_views(const StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
                std::vector<at::Tensor>& flat) {
  const at::NoGradGuard no_grad;
  for_each_segment(arenas, [&](std::size_t arena, std::size_t segment) {
    const std::string name = entry_name(kind, arenas[arena].segments()[segment]);
    arenas[arena].view(flat[arena], segment).copy_(state.tensors[name]);
  });
}

}  // namespace bunchtrain::optim
