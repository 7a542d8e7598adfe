// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A set of samples that a loader can read: the interface behind HDF5 files and in-memory tensors.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/epoch_order.hpp"
#include "bunchtrain/device/named_tensors.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"

namespace bunchtrain::data {

/// What is known of a dataset before the first step: printed once and kept in run.json.
struct DatasetSummary {
  std::string description;  ///< "18,000 jets in 1 file, card top_tagging"
  std::string card;         ///< TOML text of the resolved card; empty for data in memory
  std::string signal;       ///< the class that is selected, if the card names one
  std::vector<std::string> classes;
  std::vector<std::int64_t> class_counts;
  std::int64_t truncated = 0;                    ///< samples with more real particles than the padded length
  std::vector<features::ColumnSummary> columns;  ///< from a bounded number of samples
  std::vector<std::string>
      paths;  ///< per dataset: the way it is read and why ("table/table: pread + own inflate")
  std::string
      fingerprint;  ///< hash of file sizes, layout, labels, sampled rows, card: resume refuses other data
};

/// Decoded samples of one range: tensors [n, ...] in the range's order.
struct SampleBlock {
  NamedTensors tensors;
  SampleRange range;
};

/// Samples numbered from 0 to size()-1. Implementations must be thread-safe for `read`.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const noexcept = 0;
  /// The ranges that are read together, in stored order.
  virtual std::span<const SampleRange> ranges() const noexcept = 0;
  /// Reads and decodes one of `ranges()`. @throws DataError
  virtual SampleBlock read(std::size_t range) const = 0;
  virtual const DatasetSummary& summary() const = 0;
  /// The card behind it, or nullptr (in-memory data).
  virtual const features::Card* card() const noexcept { return nullptr; }
};

using DatasetPtr = std::shared_ptr<const Dataset>;

/// Training and validation parts: `auto [train, valid] = jets.split(...)`.
struct DatasetSplit {
  DatasetPtr train;
  DatasetPtr valid;
};

}  // namespace bunchtrain::data
