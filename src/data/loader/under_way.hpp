// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a loader has under way: chunks of samples, and the batches that wait for them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/tensor/batch.hpp"
#include "device_transfer.hpp"
#include "loader_plan.hpp"
#include "range_plan.hpp"

namespace bunchtrain::data {

struct PlannedBatch;

/// A range of the dataset in an epoch, or in all of them if chunks are kept.
struct LoaderChunk {
  enum class State { absent, wanted, reading, ready };
  using Key = std::pair<std::int64_t, std::size_t>;  ///< epoch (0 if chunks are kept) and range
  Key key;
  std::shared_ptr<KeptPlan> plan;
  State state = State::absent;
  SampleBlock block = {};
  std::exception_ptr error = nullptr;
  std::string bad = {};  ///< why its samples could not be read, where that is no error
  std::vector<PlannedBatch*> waiting = {};
  std::int64_t users = 0;      ///< planned batches not yet assembled
  std::int64_t last_plan = 0;  ///< number of the last batch planned that needs it
  bool expired = false;        ///< no batch to come needs it
  bool expected = false;       ///< the engines have been told

  std::size_t range() const noexcept { return key.second; }
};

/// A batch from its plan to its delivery.
struct PlannedBatch {
  enum class State { planned, assembling, ready };
  std::vector<CollatedSample> samples = {};
  std::vector<std::int64_t> ids = {};
  std::vector<LoaderChunk*> chunks = {};  ///< distinct
  std::size_t missing = 0;
  std::int64_t slots = 0;  ///< of a padded batch
  State state = State::planned;
  Batch batch = {};
  DeviceTransfer::Pending pending = {};
  std::exception_ptr error = nullptr;
};

/// The first step that is not planned yet.
struct NextStep {
  std::int64_t epoch, step;
};

/// What samples and batches take of the memory given. Not thread-safe.
class HeldBytes {
 public:
  explicit HeldBytes(std::int64_t most) : most_(most) {}
  bool has_room_for(std::int64_t bytes) const noexcept { return bytes_ + bytes <= most_; }
  void add(std::int64_t bytes) noexcept {
    bytes_ += bytes;
    peak_ = std::max(peak_, bytes_);
  }
  void release(std::int64_t bytes) noexcept { bytes_ -= bytes; }
  /// Since the last call.
  std::int64_t take_peak() noexcept { return std::exchange(peak_, 0); }

 private:
  const std::int64_t most_;
  std::int64_t bytes_ = 0, peak_ = 0;
};

}  // namespace bunchtrain::data
