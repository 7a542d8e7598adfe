// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A set of samples that a loader can read: the interface behind HDF5 files and in-memory tensors.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/epoch_order.hpp"
#include "bunchtrain/data/read_plan.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::data {

class Collation;
struct DeviceBytes;
struct DevicePlan;

/// A file behind a dataset, for telling whether two datasets share rows: by what is in it, not by its name.
struct FileIdentity {
  std::string path;
  /// Hash of size, layout, chunk map, ends and sampled rows: equal for copies and links.
  std::string fingerprint;
  std::int64_t rows = 0;        ///< stored
  std::string class_name = {};  ///< of all rows, where the user named it (`--data gluon=g.h5`)
  std::string contents = {};    ///< hash of every byte, where it was asked for (`--hash-data`)
};

/// Which part of a split a dataset is: it shares files, but no row, with the other part of the same split.
struct SplitPart {
  std::string name;  ///< "train" or "valid"; empty: no part, everything
  double valid_fraction = 0;
  std::uint64_t seed = 0;
};

/// What became of the stored rows: those that are not among the samples, and those that are odd ones. Of all
/// files, also for a part of them; only `without_particles` is of the part.
struct RowCounts {
  std::int64_t stored = 0;             ///< rows in the files
  std::int64_t not_selected = 0;       ///< left out by the card's selection
  std::int64_t other_labels = 0;       ///< left out because their label is of no class
  std::int64_t not_finite = 0;         ///< left out because of NaN or infinity, where the card says so
  std::int64_t without_particles = 0;  ///< samples without a real particle
  std::int64_t empty = 0;              ///< showers left out because they have no energy
  std::int64_t filled = 0;             ///< rows never written or whose source is missing (`missing = "fill"`)
};

/// What is known of a dataset before the first step: printed once and kept in run.json.
struct DatasetSummary {
  std::string description;  ///< "18,000 jets in 1 file, card top_tagging"
  std::int64_t samples = 0;
  std::string card;    ///< TOML text of the resolved card; empty for data in memory
  std::string signal;  ///< the class that is selected, if the card names one
  std::vector<std::string> classes;
  std::vector<std::int64_t> class_counts;
  /// How labels become classes: "jet.is_top: 0 qcd, 1 top".
  std::string labels;
  RowCounts rows = {};
  /// Sample weights were multiplied by it: their magnitude has mean 1.
  double weight_factor = 1;
  std::int64_t negative_weights = 0;  ///< samples whose weight is below 0
  double negative_weight_share = 0;   ///< their part of the sum of magnitudes
  std::vector<FileIdentity> files;
  SplitPart part = {};
  /// Samples that were looked at for what follows and for `rows.without_particles`: fewer than all of a large
  /// dataset, whose counts are then scaled up.
  std::int64_t surveyed = 0;
  std::int64_t truncated = 0;                    ///< samples with more real particles than the padded length
  std::vector<features::ColumnSummary> columns;  ///< from a bounded number of samples
  features::RawRanges ranges;  ///< of what inputs are computed from; empty of data in memory
  /// Per dataset: the way it is read and why ("table/table: pread + own inflate").
  std::vector<std::string> paths;
  /// Hash of file sizes, layout, labels, sampled rows, card: resume refuses other data.
  std::string fingerprint;
};

/// Decoded samples of one range in the range's order: tensors [n, ...], ragged ones [e, ...] with the elements of
/// all its samples one after another.
struct SampleBlock {
  NamedTensors tensors;
  SampleRange range;
};

/// What a device can do of a dataset's decoding.
struct DeviceSupport {
  std::string why_not = "its samples are made by the host alone";  ///< empty: a device can decode it
  std::vector<std::string> tensors = {};  ///< that it makes; the others are made by the host
};

/// Samples numbered from 0 to size()-1. Implementations must be thread-safe for `plan`, `decode` and `read`.
///
/// Reading has two halves, so that bytes can be fetched ahead in any way: `plan` says which bytes, `decode` makes
/// samples of them. A dataset of one's own needs `read` alone.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const noexcept = 0;
  /// The ranges that are read together, in stored order.
  virtual std::span<const SampleRange> ranges() const noexcept = 0;
  /// Reads and decodes one of `ranges()`. @throws DataError
  virtual SampleBlock read(std::size_t range) const = 0;
  /// The bytes that one of `ranges()` is decoded from; none if `decode` gets them by itself.
  virtual ReadPlan plan(std::size_t range) const;
  /// The range from the bytes of its plan. @throws DataError
  virtual SampleBlock decode(std::size_t range, PlannedBytes bytes) const;
  /// Whether kernels of a GPU can take the place of `decode`. Datasets of one's own leave this and the next two as they are.
  virtual DeviceSupport device_support() const { return {}; }
  /// Which bytes of a range the device gets and where columns lie in them, and what the host decodes. @pre it is supported
  virtual DevicePlan plan_on_device(std::size_t range) const;
  /// The range from these bytes, its supported tensors on the device: on the current stream, which it waits for. Nothing if a
  /// value is not finite: then `decode` says which, or what takes its place. @throws DataError @pre it is supported
  virtual std::optional<SampleBlock> decode_on_device(std::size_t range, const DevicePlan& plan,
                                                      const DeviceBytes& bytes) const;
  /// Names of the tensors that have one row per element (a hit, a particle) instead of one per sample.
  virtual std::span<const std::string> ragged() const noexcept { return {}; }
  /// With ragged tensors [size() + 1], from 0 on, ascending: sample i has row_splits[i + 1] - row_splits[i]
  /// elements. Empty without.
  virtual std::span<const std::int64_t> row_splits() const noexcept { return {}; }
  /// How loaders that are not told otherwise make batches of it; null: ragged where the dataset is, else rows.
  virtual std::shared_ptr<const Collation> collation() const { return nullptr; }
  virtual const DatasetSummary& summary() const = 0;
  /// The card behind it, or nullptr (in-memory data).
  virtual const features::Card* card() const noexcept { return nullptr; }
};

using DatasetPtr = std::shared_ptr<const Dataset>;

/// How a dataset is cut into training and validation.
struct SplitOptions {
  double valid_fraction = 0.1;
  std::uint64_t seed = 7;
};

/// Training and validation parts: `auto [train, valid] = jets.split(...)`.
struct DatasetSplit {
  DatasetPtr train;
  DatasetPtr valid;
};

}  // namespace bunchtrain::data
