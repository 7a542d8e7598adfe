// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What becomes of rows that turn out to be damaged while they are read.

#include <string_view>

namespace bunchtrain::data {

/// Of the samples of a range that cannot be decoded. Trouble of the storage system, and files that change while
/// they are read, are errors with each.
enum class BadData {
  stop,         ///< an error with file, dataset and rows
  zero_weight,  ///< they stay in their batches as zeros, with a "weight" of 0: for training
  leave_out,    ///< batches are so much smaller: for passes without gradients
};

}  // namespace bunchtrain::data
