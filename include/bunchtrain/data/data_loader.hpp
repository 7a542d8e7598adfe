// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Iterates over a dataset in epochs of batches: decoded ahead by threads, in the exact order, resumable.

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/data/bad_data.hpp"
#include "bunchtrain/data/collation.hpp"
#include "bunchtrain/data/dataset.hpp"
#include "bunchtrain/data/decode_on.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/tensor/state_dict.hpp"

namespace bunchtrain::data {

class Staging;

struct DataLoaderOptions {
  std::int64_t global_batch = 256;  ///< samples per optimizer step over all ranks
  /// Elements (hits, particles) per optimizer step over all ranks, for ragged datasets: a batch takes as many of
  /// the next samples as stay within it, `global_batch` at most and one at least, so that a sample with more is a
  /// batch by itself. 0: by samples alone. The Trainer cuts by samples.
  std::int64_t global_elements = 0;
  /// So many batches at a time exchange samples, so that those of a batch have like lengths: for ragged datasets that are
  /// shuffled and cut by samples, where padding or the square of a length costs. 64 is enough; it takes no more than the
  /// shuffle mixes, and every sample occurs once as ever. 0: none.
  std::int64_t length_bucket_batches = 0;
  /// How samples become tensors; nullptr: as the dataset says (`Dataset::collation`), else ragged where it is, or rows.
  CollationPtr collation = nullptr;
  int rank = 0;
  int world_size = 1;
  std::uint64_t seed = 1;
  bool shuffle = true;
  int threads = 1;  ///< decode threads; the order does not depend on it
  /// Made ahead at first; up to four times as many where they are waited for and memory allows.
  std::int64_t prefetch_batches = 3;
  /// Samples are decoded ahead while less is held. What the shuffle mixes (at most 128 MiB) and the batches under way are
  /// held in any case, as the order does not depend on memory.
  std::int64_t prefetch_bytes = std::int64_t{256} << 20;
  c10::Device device = c10::kCPU;  ///< batches arrive there (pinned staging and a copy stream on GPU)
  /// With `device` the inputs of jets and hits are computed there and ranges are kept there: `prefetch_bytes` then bounds memory of
  /// the GPU. Order and all that is no input are the same, inputs within 2 ulp of the exact result of each operation.
  DecodeOn decode = DecodeOn::automatic;
  /// Fewer samples than ranks are shared all the same, some ranks getting none: for passes without gradients.
  bool empty_shares = false;
  /// Copies files to the node's own disk beside the reading; nullptr: they are read where they are.
  std::shared_ptr<Staging> staging = nullptr;
  /// With `zero_weight` all batches have a "weight", [B] float32 of ones where the dataset has none.
  BadData on_bad = BadData::stop;
  /// Called every 50 ms by the thread that waits in `next` for data: it can answer its peers meanwhile. What
  /// it throws, `next` throws.
  std::function<void()> while_waiting = {};
  Logger logger = {};

  /// @throws ConfigError: batch below the world size, fewer samples than ranks, ...
  /// (and DataLoader's constructor for `global_elements` without ragged tensors)
  void validate(std::int64_t dataset_size) const;
};

/// How long one of many took, in seconds within a tenth.
struct Quantiles {
  double p50 = 0;  ///< half of them
  double p99 = 0;  ///< all but one in a hundred
};

/// Where the time of the last epoch went, on this rank; sums over threads where it says so.
struct LoaderStatistics {
  double wait_seconds = 0;  ///< `next` had to wait for data
  double wait_p50 = 0;      ///< for one batch: half of them, within a tenth
  double wait_p99 = 0;      ///< and all but one in a hundred
  double longest_wait = 0;
  Quantiles fetch, decode;       ///< of one range
  Quantiles assemble;            ///< of one batch
  double fetch_seconds = 0;      ///< over threads: bytes were fetched
  double decode_seconds = 0;     ///< over threads: samples were made of them
  double assemble_seconds = 0;   ///< over threads: batches were put together
  double processor_seconds = 0;  ///< over threads: processor time of all three
  std::int64_t batches = 0;
  std::int64_t bytes_fetched = 0;    ///< as stored in files
  std::int64_t bytes_decoded = 0;    ///< ranges that are decoded twice count double
  std::int64_t bytes_delivered = 0;  ///< of batches: what was asked for
  std::int64_t bytes_peak = 0;
  std::int64_t elements = 0, slots = 0;  ///< of padded batches: real ones, and places for them
  std::int64_t device_ranges = 0;        ///< decoded by a device
  std::int64_t left_to_host =
      0;  ///< ranges that it could not: values that are not finite, bytes that did not come
  std::int64_t bad_samples = 0;  ///< delivered with weight 0, or left out (`DataLoaderOptions::on_bad`)
  std::string first_bad = {};    ///< what was wrong with the first of them that this loader has met

  /// Decoded over delivered bytes: 1 if everything is decoded once and used.
  double read_amplification() const noexcept;
  /// Places over real elements of padded batches: 1 if nothing is padded. 0 without such batches.
  double padding() const noexcept;
  /// Processor time per GB of samples delivered.
  double processor_seconds_per_gb() const noexcept;
  /// What the threads did most of the time: "storage", "decoding", "assembly"; that is what starves a run that waits.
  std::string_view slowest_stage() const noexcept;
  /// One line: waits, the slowest stage, GB, processor seconds per GB.
  std::string describe() const;
};

/// One pass per epoch: `for (const Batch& batch : loader) ...` runs the rest of the current epoch, then moves
/// to the next.
///
/// All ranks see the same number of batches; the last one of an epoch may be smaller, and rank shares
/// may differ by one or be empty (with `global_elements` in any step). The sequence of global batches is the same for any world size and
/// thread count. Not thread-safe.
class DataLoader {
 public:
  /// @throws ConfigError for options that cannot be (with `DecodeOn::device`: the reason), DataError for row splits that cannot be
  DataLoader(DatasetPtr dataset, DataLoaderOptions options);
  ~DataLoader();
  DataLoader(DataLoader&&) noexcept;
  DataLoader& operator=(DataLoader&&) noexcept;

  /// Of all epochs; with `global_elements` of the current one, which is gone through for it.
  /// @throws what reading the data throws, in that case
  std::int64_t steps_per_epoch() const;
  std::int64_t epoch() const noexcept;
  /// The next batch of the current epoch, or nothing at its end (the epoch counter then advances).
  std::optional<Batch> next();

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Batch;
    using difference_type = std::ptrdiff_t;
    explicit Iterator(DataLoader* loader);
    const Batch& operator*() const noexcept { return *current_; }
    Iterator& operator++();
    bool operator==(std::default_sentinel_t) const noexcept { return !current_; }

   private:
    DataLoader* loader_;
    std::optional<Batch> current_;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// Position (epoch, step, seed, fingerprint): a few dozen bytes. `load` continues from
  /// there, at any world size.
  /// @throws CheckpointError if the data is not the one the state belongs to, or batches are made of it otherwise.
  StateDict state() const;
  void load(const StateDict& state);
  const LoaderStatistics& statistics() const noexcept;
  const Dataset& dataset() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::data
