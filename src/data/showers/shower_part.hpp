// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A part of the showers of a ShowerSource as a dataset: training, validation, or all.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/data/dataset.hpp"
#include "loader/recycled_tensors.hpp"
#include "shower_source.hpp"

namespace bunchtrain::data {

/// The showers that are kept and that `rule` takes, as samples in stored order.
class ShowerPart final : public Dataset {
 public:
  /// @param part which part of which split `rule` takes.
  ShowerPart(std::shared_ptr<const ShowerSource> source, RowRule rule, SplitPart part);

  std::int64_t size() const noexcept override { return size_; }
  std::span<const SampleRange> ranges() const noexcept override { return ranges_; }
  SampleBlock read(std::size_t range) const override;
  ReadPlan plan(std::size_t range) const override;
  SampleBlock decode(std::size_t range, PlannedBytes bytes) const override;
  const DatasetSummary& summary() const override { return summary_; }

 private:
  bool takes(std::size_t row) const { return source_->kept(row) && rule_(row); }
  void describe(const std::string& name);

  std::shared_ptr<const ShowerSource> source_;
  RowRule rule_;
  std::vector<SampleRange> ranges_;
  std::int64_t size_ = 0;
  DatasetSummary summary_;
  RecycledTensors memory_;  // of images
};

}  // namespace bunchtrain::data
