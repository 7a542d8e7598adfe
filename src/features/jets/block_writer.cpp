// SPDX-License-Identifier: Apache-2.0
#include "block_writer.hpp"

#include <ATen/ops/empty.h>

#include "input_writer.hpp"

namespace bunchtrain::features::detail {

Workspace& thread_workspace() {
  thread_local Workspace workspace;
  return workspace;
}

void write_block(const Card& card, const CompiledCard& compiled, const RawColumns& raw,
                 std::span<const std::int64_t> rows, FeatureBlock& block) {
  const auto count = static_cast<std::int64_t>(rows.size());
  std::int64_t most_elements = 0;  // as many as are real without a mask
  for (const std::int64_t row : rows) most_elements += raw.slots_of(row);
  InputArrays arrays;
  std::vector<at::Tensor> inputs;
  for (const auto& [name, specs] : card.inputs) {
    const auto width = static_cast<std::int64_t>(specs.size());
    inputs.push_back(card.ragged ? at::empty({most_elements, width}, at::kFloat)
                                 : at::empty({count, card.length, width}, at::kFloat));
    arrays.inputs.push_back(inputs.back().mutable_data_ptr<float>());
  }
  at::Tensor mask;
  if (!card.ragged) {
    mask = at::empty({count, card.length}, at::kBool);
    arrays.mask = mask.mutable_data_ptr<bool>();
  }
  std::vector<at::Tensor> observers;
  for (std::size_t i = 0; i < card.observers.size(); ++i) {
    const at::Tensor observer = at::empty({count}, at::kDouble);
    arrays.observers.push_back(observer.mutable_data_ptr<double>());
    observers.push_back(observer);
  }
  InputWriter writer(card, compiled, raw, thread_workspace());
  writer.write(rows, arrays);
  const InputCounts& counts = writer.counts();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool whole = !card.ragged || counts.elements == inputs[i].size(0);
    block.tensors.set(card.inputs[i].first,
                      whole ? inputs[i] : inputs[i].narrow(0, 0, counts.elements).clone());
  }
  if (!card.ragged) block.tensors.set("mask", mask);
  for (std::size_t i = 0; i < observers.size(); ++i)
    block.tensors.set("observer." + card.observers[i], observers[i]);
  block.counts.truncated = counts.truncated;
  block.counts.without_particles = counts.without_particles;
  block.replaced = counts.replaced;
}

}  // namespace bunchtrain::features::detail
