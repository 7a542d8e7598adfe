// SPDX-License-Identifier: Apache-2.0
#include "arena_state.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty_strided.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::optim {

namespace {

constexpr std::int64_t kAlignment = 64;  // bytes, as an arena's segments

void require_inside(const tensor::ArenaRange& range, const tensor::ParameterArena& arena) {
  const std::int64_t numel = arena.values().numel(), unit = kAlignment / arena.values().element_size();
  const bool inside = 0 <= range.begin && range.begin <= range.end && range.end <= numel;
  if (inside && range.begin % unit == 0 && (range.end % unit == 0 || range.end == numel)) return;
  throw ConfigError(
      "owned range", fmt::format("{} to {} of arena {}", range.begin, range.end, range.arena),
      fmt::format("elements of 0 to {}, both ends at multiples of {} or at the arena's end", numel, unit));
}

std::string entry_name(std::string_view kind, const tensor::ParameterArenas& arenas, const OwnedPart& part) {
  return fmt::format("{}.{}", kind, arenas[part.arena].segments()[part.segment].name);
}

tensor::Slice slice_of(const OwnedPart& part, const tensor::ParameterArenas& arenas) {
  const at::Tensor& parameter = arenas[part.arena].parameter(part.segment);
  return part.is_whole(arenas)
             ? tensor::Slice::whole(parameter.sizes())
             : tensor::Slice::range(parameter.sizes(), parameter.strides(), part.begin, part.count);
}

bool has_elements_of(const tensor::Slice& held, const OwnedPart& part, const at::Tensor& parameter) {
  if (!held.is_range()) return held.is_whole();
  return parameter.strides() == held.strides && held.begin <= part.begin &&
         part.begin + part.count <= held.begin + held.count;
}

/// The elements of `tensor`, a parameter's or a range of them, flat and as the parameter lies in memory.
at::Tensor in_storage_order(const at::Tensor& tensor, const tensor::Slice& held,
                            const at::Tensor& parameter) {
  if (held.is_range()) return tensor;
  const at::Tensor ordered = at::empty_strided(parameter.sizes(), parameter.strides(), tensor.options());
  ordered.copy_(tensor);
  return at::as_strided(ordered, {ordered.numel()}, {1});
}

}  // namespace

Ownership ownership_of(const tensor::ParameterArenas& arenas, const OwnedRanges& owned) {
  Ownership ranges;
  for (std::size_t i = 0; i < arenas.size(); ++i)
    ranges.push_back({.arena = i, .begin = 0, .end = owned ? 0 : arenas[i].values().numel()});
  if (!owned) return ranges;
  std::vector<bool> given(arenas.size());
  for (const tensor::ArenaRange& range : *owned) {
    expects(range.arena < arenas.size(), "an owned range belongs to one of the network's arenas");
    expects(!given[range.arena], "at most one range of an arena is owned");
    require_inside(range, arenas[range.arena]);
    given[range.arena] = true;
    ranges[range.arena] = range;
  }
  return ranges;
}

bool owns_all(const tensor::ParameterArenas& arenas, const Ownership& owned) {
  return owned == ownership_of(arenas, std::nullopt);
}

std::vector<OwnedPart> parts_of(const tensor::ParameterArenas& arenas, const Ownership& owned) {
  std::vector<OwnedPart> parts;
  for (const auto& [arena, first, last] : owned) {
    const auto segments = arenas[arena].segments();
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const std::int64_t begin = std::max(segments[i].offset, first);
      const std::int64_t count = std::min(segments[i].offset + segments[i].numel, last) - begin;
      if (segments[i].numel == 0)
        parts.push_back({arena, i, 0, 0, 0});
      else if (count > 0)
        parts.push_back({arena, i, begin - segments[i].offset, count, begin - first});
    }
  }
  return parts;
}

at::Tensor view_of(const OwnedPart& part, const tensor::ParameterArenas& arenas, const at::Tensor& flat) {
  if (!part.is_whole(arenas)) return flat.narrow(0, part.in_state, part.count);
  const at::Tensor& parameter = arenas[part.arena].parameter(part.segment);
  return at::as_strided(flat, parameter.sizes(), parameter.strides(), flat.storage_offset() + part.in_state);
}

void add_views(StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
               const Ownership& owned, const std::vector<at::Tensor>& flat) {
  const at::NoGradGuard no_grad;
  const bool spread = !owns_all(arenas, owned);
  for (const OwnedPart& part : parts_of(arenas, owned)) {
    const at::Tensor view = view_of(part, arenas, flat[part.arena]);
    if (spread && part.count > 0)
      state.set_slice(entry_name(kind, arenas, part), view, slice_of(part, arenas));
    else
      state.tensors.set(entry_name(kind, arenas, part), view);
  }
}

void require_views(const StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
                   const Ownership& owned) {
  for (const OwnedPart& part : parts_of(arenas, owned)) {
    const std::string name = entry_name(kind, arenas, part);
    if (state.tensors.find(name) == nullptr)
      throw CheckpointError("state has no \"" + name + "\": it belongs to another model or optimizer");
    const at::Tensor& parameter = arenas[part.arena].parameter(part.segment);
    const tensor::Slice held = state.slice_of(name);
    if (parameter.sizes() != held.shape) {
      std::ostringstream text;
      text << "state \"" << name << "\" has shape " << at::IntArrayRef(held.shape) << ", this model needs "
           << parameter.sizes();
      throw CheckpointError(text.str());
    }
    if (!has_elements_of(held, part, parameter))
      throw CheckpointError(fmt::format("state \"{}\" has {}, this optimizer owns {}: read that part, or all",
                                        name, held.to_string(), slice_of(part, arenas).to_string()));
  }
}

void copy_views(const StateDict& state, std::string_view kind, const tensor::ParameterArenas& arenas,
                const Ownership& owned, std::vector<at::Tensor>& flat) {
  const at::NoGradGuard no_grad;
  for (const OwnedPart& part : parts_of(arenas, owned)) {
    if (part.count == 0) continue;
    const std::string name = entry_name(kind, arenas, part);
    const tensor::Slice held = state.slice_of(name);
    const at::Tensor source =
        in_storage_order(state.tensors[name], held, arenas[part.arena].parameter(part.segment));
    flat[part.arena]
        .narrow(0, part.in_state, part.count)
        .copy_(source.narrow(0, part.begin - (held.is_range() ? held.begin : 0), part.count));
  }
}

}  // namespace bunchtrain::optim
