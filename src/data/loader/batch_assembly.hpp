// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Makes batches of samples that are there, and brings them to the device.

#include <cstdint>
#include <memory>

#include "bunchtrain/data/bad_data.hpp"
#include "device_decoding.hpp"
#include "device_transfer.hpp"
#include "loader_plan.hpp"
#include "under_way.hpp"

namespace bunchtrain::data {

/// A batch is a function of its samples and their chunks, which do not change while it is made. Thread-safe, but for one
/// batch at a time.
class BatchAssembly {
 public:
  /// @param transfer and `decoding` (null: the host decodes) outlive this
  BatchAssembly(std::shared_ptr<const LoaderPlan> plan, const DeviceTransfer& transfer,
                const DeviceDecoding* decoding, BadData on_bad);

  /// Counts samples that could not be read, and takes them out if they are to be left out. @pre no chunk is missing
  void sort_out_bad(PlannedBatch& planned) const;
  /// Collates, and starts the copy to the device. @throws what reading a chunk threw, ConfigError of the collation
  void assemble(PlannedBatch& planned) const;
  /// Waits for the copy.
  Batch deliver(PlannedBatch& planned) const;
  std::int64_t bytes_of(const PlannedBatch& planned) const;

 private:
  const std::shared_ptr<const LoaderPlan> plan_;
  const DeviceTransfer& transfer_;
  const DeviceDecoding* const decoding_;
  const BadData on_bad_;
};

}  // namespace bunchtrain::data
