// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The jets that an evaluation looks at, and how many of them the run was trained on.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/tasks/jet_tagging/evaluate.hpp"
#include "bunchtrain/train/detail/trained_on.hpp"
#include "bunchtrain/train/session.hpp"
#include "shared_rows.hpp"
#include "trained_network.hpp"

namespace bunchtrain::jet_tagging {

struct EvaluatedData {
  data::JetDataset files;
  data::DatasetPtr samples;                          ///< everything, or a part of a split
  std::vector<data::JetDataset::RowReference> rows;  ///< of every sample
  std::string description;                           ///< "toy.h5", "validation part of toy.h5"
};

/// "toy.h5", "a.h5, b.h5, c.h5 and 2 more".
std::string describe_files(const std::vector<std::filesystem::path>& files);

/// `options.data` and `split`, with the card of the first network. Warns of jets that a network was trained on, with
/// their number.
/// @throws ConfigError if there is no such part, or if it is not the same of all networks.
EvaluatedData open_evaluated(const train::Session& session, const EvaluateOptions& options,
                             std::span<const TrainedNetwork> networks, SharedRows& rows);

}  // namespace bunchtrain::jet_tagging
