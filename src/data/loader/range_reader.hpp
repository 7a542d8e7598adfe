// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Fetches and decodes ranges, on the host or on a device.

#include <memory>
#include <string>

#include "bunchtrain/data/data_loader.hpp"
#include "device_decoding.hpp"
#include "loader_plan.hpp"
#include "range_plan.hpp"

namespace bunchtrain::data {

class Staging;

/// Samples are a function of their range alone: nothing here knows of batches, epochs or other ranges. Thread-safe.
class RangeReader {
 public:
  /// @param decoding null: the host decodes. It and `options.staging` live longer.
  RangeReader(DatasetPtr dataset, std::shared_ptr<const LoaderPlan> plan, const DataLoaderOptions& options,
              const DeviceDecoding* decoding);

  /// Tells the engines that a range is read soon, so that storage works while others are decoded. Never throws: the read
  /// will say what is wrong.
  void expect(KeptPlan& range) const noexcept;

  struct Samples {
    SampleBlock block;
    std::string bad = {};  ///< why there are zeros in their place, where that is no error
  };
  /// Adds to `spent` what it takes. @throws DataError, IoError, and what a dataset of one's own throws
  Samples read(KeptPlan& range, LoaderStatistics& spent) const;

 private:
  RangePlan plan(std::size_t range) const;
  SampleBlock read_samples(KeptPlan& range, LoaderStatistics& spent) const;
  SampleBlock read_on_host(std::size_t range, const ReadPlan& plan, LoaderStatistics& spent) const;
  SampleBlock read_staged(std::size_t range, const ReadPlan& plan, LoaderStatistics& spent) const;
  SampleBlock read_from_files(std::size_t range, const ReadPlan& plan, LoaderStatistics& spent) const;
  SampleBlock read_by(std::size_t range, const ReadPlan& plan, const ReadPlan& from,
                      LoaderStatistics& spent) const;

  const DatasetPtr dataset_;
  const std::shared_ptr<const LoaderPlan> plan_;
  const BadData on_bad_;
  const Logger logger_;
  Staging* const staging_;  // null: files are read where they are
  const DeviceDecoding* const decoding_;
};

}  // namespace bunchtrain::data
