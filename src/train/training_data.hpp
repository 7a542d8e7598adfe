// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The loaders of a training.

#include <cstdint>
#include <memory>
#include <optional>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/staging.hpp"
#include "bunchtrain/train/session.hpp"
#include "settings.hpp"

namespace bunchtrain::train {

/// One per process, for all its loaders; null without a folder.
std::shared_ptr<data::Staging> make_staging(const Session& session, const Settings& settings);

/// Shuffled. @param length_buckets batches that exchange samples of ragged data; 0 = none
data::DataLoader make_train_loader(const Session& session, const Settings& settings,
                                   const data::DatasetPtr& train, std::shared_ptr<data::Staging> staging,
                                   std::int64_t length_buckets);

/// In the stored order; nothing without samples.
std::optional<data::DataLoader> make_valid_loader(const Session& session, const Settings& settings,
                                                  const data::DatasetPtr& valid,
                                                  std::shared_ptr<data::Staging> staging);

}  // namespace bunchtrain::train
