// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which rows a run learned from, as every snapshot remembers it.

#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/data/dataset.hpp"

namespace bunchtrain::train {

/// The files of a run's training data, in their order, and which part of them was trained on.
struct TrainedOn {
  std::vector<data::FileIdentity> files;  ///< with absolute paths
  data::SplitPart part;                   ///< without a name: all rows
};

/// Key of the snapshot's metadata that holds it.
inline constexpr const char* kTrainedOnKey = "trained on";

/// One line of JSON; empty for data that come from no files.
std::string to_text(const data::DatasetSummary& training_data);
/// @throws CheckpointError if the text is none of `to_text`.
TrainedOn parse_trained_on(std::string_view text);

}  // namespace bunchtrain::train
