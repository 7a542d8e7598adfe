// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Tensors already in memory as a dataset: tests, small studies, data from elsewhere.

#include "bunchtrain/data/dataset.hpp"

namespace bunchtrain::data {

/// A dataset over tensors whose first dimension counts samples. @throws DataError if the first dimensions
/// differ.
DatasetPtr make_memory_dataset(NamedTensors tensors, std::int64_t range_size = 256);

}  // namespace bunchtrain::data
