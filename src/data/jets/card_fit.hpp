// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What datasets of jets and of hits have in common: fitting their card, cutting them in two.

#include <cstdint>
#include <memory>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/features/card.hpp"
#include "jet_source.hpp"
#include "row_ranges.hpp"

namespace bunchtrain::data {

/// The source's card with all that it leaves to the data taken from the rows of `rule`: "auto" inputs, weights, scales
/// of targets. @throws DataError for weights and targets that teach nothing
features::Card fit_card(const std::shared_ptr<const JetSource>& source, const RowRule& rule);
/// Whether rows of a key are for validation: a pure function.
bool goes_to_validation(std::uint64_t key, const SplitOptions& options);
/// @throws DataError if no row is kept.
void require_rows(const JetSource& source);
/// Training and validation, each a `JetPart`, with the card fitted to the training part. @throws ConfigError if one is
/// empty
DatasetSplit split_rows(const std::shared_ptr<const JetSource>& source, const SplitOptions& options);

}  // namespace bunchtrain::data
