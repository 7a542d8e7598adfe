// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/batch.hpp"

#include <algorithm>
#include <string>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {

Batch slice_samples(const Batch& batch, std::int64_t begin, std::int64_t end) {
  expects(0 <= begin && begin <= end && end <= batch.size(), "samples [" + std::to_string(begin) + ", " +
                                                                 std::to_string(end) + ") of a batch of " +
                                                                 std::to_string(batch.size()));
  const bool ragged = batch.element_splits.defined();
  expects(
      ragged || !batch.tensors.contains(kRowSplits),
      "a batch with row_splits can be cut if it says where samples end on the host (Batch::element_splits), "
      "as those of a DataLoader do");
  Batch part = batch;
  part.tensors = {};
  part.sample_ids = batch.sample_ids.slice(0, begin, end);
  std::int64_t first = 0;
  if (ragged) {
    const std::int64_t* splits = batch.element_splits.const_data_ptr<std::int64_t>();
    first = splits[begin];
    part.elements = splits[end] - first;
    part.element_splits = batch.element_splits.slice(0, begin, end + 1).sub(first);
  }
  for (const auto& [name, tensor] : batch.tensors) {
    if (name == kRowSplits && ragged) {
      part.tensors.set(name, tensor.slice(0, begin, end + 1).sub(first));
    } else if (std::ranges::find(batch.ragged, name) != batch.ragged.end()) {
      part.tensors.set(name, tensor.slice(0, first, first + part.elements));
    } else {
      part.tensors.set(name, tensor.slice(0, begin, end));
    }
  }
  return part;
}

}  // namespace bunchtrain
