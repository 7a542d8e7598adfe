// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tensors already in memory as a dataset: tests, small studies, data from elsewhere.

#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"

namespace bunchtrain::data {

/// A dataset over tensors whose first dimension counts samples. "label" [N] int64 and "weight" [N] are known
/// by name: weights are brought to a mean magnitude of 1. @throws DataError if the first dimensions differ,
/// or if weights are not finite or all 0.
DatasetPtr make_memory_dataset(NamedTensors tensors, std::int64_t range_size = 256);
/// The same with ragged tensors: those named in `ragged` are [E, ...] with one row per element, and
/// `row_splits` [N + 1] int64 says whose: sample i has the elements row_splits[i] to row_splits[i + 1] - 1. A "label"
/// or "weight" that is ragged is a tensor as any other. @throws DataError if the row splits do not begin at 0, descend,
/// or end elsewhere than the tensors
DatasetPtr make_ragged_dataset(NamedTensors tensors, std::vector<std::string> ragged,
                               const at::Tensor& row_splits, std::int64_t range_size = 256);

}  // namespace bunchtrain::data
