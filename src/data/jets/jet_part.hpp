// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A part of the rows of an JetSource as a dataset: training, validation, or all.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "jet_source.hpp"
#include "weight_sums.hpp"

namespace bunchtrain::data {

/// The rows of `source` that are kept and that `rule` takes, as samples in stored order.
class JetPart final : public Dataset {
 public:
  /// Of the particles that the card pads or cuts to, or of all that there are, which batches are padded to.
  enum class Particles { of_card, of_source };
  /// @param card the source's, with everything fitted. @param part which part of which split `rule` takes.
  JetPart(std::shared_ptr<const JetSource> source, features::Card card, RowRule rule, SplitPart part,
          Particles particles = Particles::of_source);

  std::int64_t size() const noexcept override { return size_; }
  std::span<const SampleRange> ranges() const noexcept override { return ranges_; }
  SampleBlock read(std::size_t range) const override;
  ReadPlan plan(std::size_t range) const override;
  SampleBlock decode(std::size_t range, PlannedBytes bytes) const override;
  DeviceSupport device_support() const override;
  DevicePlan plan_on_device(std::size_t range) const override;
  std::optional<SampleBlock> decode_on_device(std::size_t range, const DevicePlan& plan,
                                              const DeviceBytes& bytes) const override;
  std::span<const std::string> ragged() const noexcept override { return ragged_; }
  std::span<const std::int64_t> row_splits() const noexcept override { return row_splits_; }
  const DatasetSummary& summary() const override { return summary_; }
  const features::Card* card() const noexcept override { return &card_; }
  std::shared_ptr<const Collation> collation() const override { return collation_; }

  /// File and row of a sample.
  JetDataset::RowReference row_of(std::int64_t sample) const;
  /// The same of every sample.
  std::vector<JetDataset::RowReference> rows() const;
  /// Mean and width of every input over about `most_rows` samples, spread evenly; also how many were
  /// truncated and have no particle, scaled to all.
  struct Survey {
    std::vector<features::ColumnSummary> columns;
    features::RawRanges ranges;
    std::int64_t samples = 0;
    std::int64_t truncated = 0;
    std::int64_t without_particles = 0;
  };
  /// @throws DataError if no sample at all has a particle.
  Survey survey(std::int64_t most_rows) const;
  /// Mean and standard deviation of a target over the samples that have one.
  struct Spread {
    double mean = 0, width = 0;
    std::int64_t samples = 0;
  };
  /// @param number its place among the source's `targets()`.
  Spread spread(std::size_t number) const;
  /// Sample times class weight of all samples, without the card's factor.
  WeightSums weigh(const std::vector<double>& class_weights) const;

 private:
  SampleBlock as_samples(std::size_t range, features::FeatureBlock block) const;
  std::vector<std::int64_t> rows_in(const RowRange& range) const;
  features::FeatureBlock evaluate(std::size_t range, features::RawRanges* ranges = nullptr) const;
  features::FeatureBlock evaluate(std::size_t range, PlannedBytes bytes,
                                  features::RawRanges* ranges = nullptr) const;
  void count();
  void count_elements(std::size_t row);
  std::int64_t count_longer(std::int64_t length) const;
  void add_element_weights(std::size_t row, const std::vector<double>& class_weights, WeightSums& sums) const;
  Spread spread_over_elements(std::size_t number) const;
  std::string count_text() const;
  void describe();
  void describe_weights();
  std::string text_of_use() const;
  bool needs_scales() const;
  std::vector<std::size_t> filled_ranges() const;
  void require_particles(const std::vector<std::size_t>& ranges) const;

  std::shared_ptr<const JetSource> source_;
  features::Card card_;
  features::FeaturePipeline pipeline_;
  RowRule rule_;
  std::vector<SampleRange> ranges_;
  std::int64_t size_ = 0;
  std::vector<std::string> ragged_;
  std::vector<std::int64_t> row_splits_;        ///< where numbers of elements differ
  std::shared_ptr<const Collation> collation_;  ///< null: the usual one
  DatasetSummary summary_;
};

}  // namespace bunchtrain::data
