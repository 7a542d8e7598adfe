// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/checkpoint/host_copies.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>
#include <utility>

namespace bunchtrain::checkpoint {
namespace {

/// Elements [begin, end) of a memory.
struct Extent {
  std::int64_t begin, end;
};

/// What a state has of one memory in one dtype.
struct Part {
  at::Tensor view;  ///< any tensor of it
  Extent extent;
  std::int64_t elements = 0;  ///< of the tensors, counted once each
  at::Tensor copied = {};     ///< of the extent
};

using Memory = std::pair<const void*, at::ScalarType>;

bool has_elements(const at::Tensor& tensor) {
  return tensor.defined() && tensor.layout() == at::kStrided && tensor.numel() > 0;
}

Memory memory_of(const at::Tensor& tensor) {
  return {tensor.storage().unsafeGetStorageImpl(), tensor.scalar_type()};
}

Extent extent_of(const at::Tensor& tensor) {
  std::int64_t last = tensor.storage_offset();
  for (std::int64_t axis = 0; axis < tensor.dim(); ++axis)
    last += (tensor.size(axis) - 1) * tensor.stride(axis);
  return {tensor.storage_offset(), last + 1};
}

std::map<Memory, Part> parts_of(const NamedTensors& tensors) {
  std::map<Memory, Part> parts;
  for (const auto& [name, tensor] : tensors) {
    if (!has_elements(tensor)) continue;
    const Extent extent = extent_of(tensor);
    Part& part = parts.try_emplace(memory_of(tensor), Part{tensor.detach(), extent}).first->second;
    part.extent = {std::min(part.extent.begin, extent.begin), std::max(part.extent.end, extent.end)};
    part.elements += tensor.numel();
  }
  return parts;
}

/// Not of a few rows of something large.
bool is_worth_one_piece(const Part& part) { return 2 * part.elements >= part.extent.end - part.extent.begin; }

}  // namespace

StateDict HostCopies::copy(const StateDict& live) {
  const at::NoGradGuard no_gradients;
  StateDict copied;
  copied.values = live.values;
  copied.slices = live.slices;
  std::map<Memory, Part> parts = parts_of(live.tensors);
  for (auto& [memory, part] : parts) {
    if (!is_worth_one_piece(part)) continue;
    const std::int64_t count = part.extent.end - part.extent.begin;
    part.copied = take(memory.second, count, part.view.is_cuda());
    part.copied.copy_(part.view.as_strided({count}, {1}, part.extent.begin));
  }
  for (const auto& [name, tensor] : live.tensors) {
    const auto part = has_elements(tensor) ? parts.find(memory_of(tensor)) : parts.end();
    if (part != parts.end() && part->second.copied.defined())
      copied.tensors.set(name,
                         part->second.copied.as_strided(tensor.sizes(), tensor.strides(),
                                                        tensor.storage_offset() - part->second.extent.begin));
    else
      copied.tensors.set(name, tensor.defined() && tensor.is_cpu() ? tensor.detach().clone() : tensor.cpu());
  }
  return copied;
}

std::size_t HostCopies::bytes() const noexcept {
  std::size_t sum = 0;
  for (const Block& block : blocks_) sum += block.memory.nbytes();
  return sum;
}

at::Tensor HostCopies::take(at::ScalarType dtype, std::int64_t count, bool page_locked) {
  const auto is_free = [](const Block& block) { return block.memory.storage().use_count() == 1; };
  for (const Block& block : blocks_)
    if (is_free(block) && block.memory.scalar_type() == dtype && block.memory.numel() == count &&
        block.page_locked == page_locked)
      return block.memory.alias();
  std::erase_if(blocks_, is_free);  // of a state that is another one now
  const auto options = at::TensorOptions().dtype(dtype).pinned_memory(page_locked);
  return blocks_.emplace_back(Block{at::empty({count}, options), page_locked}).memory.alias();
}

}  // namespace bunchtrain::checkpoint
