// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What is known at the end of an epoch: printed as a line, kept in metrics.jsonl, drawn in the report.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/report/record.hpp"

namespace bunchtrain::report {

/// Where the time of one training step goes, mean over an epoch and over all ranks, in seconds.
struct StepSplit {
  double data = 0;  ///< waiting for the loader
  double forward = 0;
  double backward = 0;       ///< communication hidden behind it included
  double communication = 0;  ///< exposed only: of the rank that came last and waited for nobody
  double optimizer = 0;
  double idle = 0;  ///< waiting for other ranks, in collectives and at the end of the step

  double total() const noexcept { return data + forward + backward + communication + optimizer + idle; }
};

/// How the data came, over all ranks: quantiles in seconds are those of the slowest rank. NaN and "" if nothing is known.
struct LoaderSplit {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  double wait_p50 = kUnknown, wait_p99 = kUnknown;    ///< of a step, for its batch
  double fetch_p50 = kUnknown, fetch_p99 = kUnknown;  ///< of a range of samples: bytes came from files
  double decode_p50 = kUnknown, decode_p99 = kUnknown;
  double assemble_p50 = kUnknown, assemble_p99 = kUnknown;  ///< of a batch
  double bytes_fetched = kUnknown;
  double read_amplification = kUnknown;  ///< decoded bytes over those of batches
  double processor_seconds_per_gb = kUnknown;
  double padding = kUnknown;       ///< places over elements of padded batches of ragged samples
  std::string slowest_stage = {};  ///< "storage", "decoding", "assembly": what starves a run that waits
};

/// A number with its name, as in "valid_auc".
struct NamedValue {
  std::string name = {};
  double value = 0;
};

/// One finished epoch. Values that are not known (no validation) stay NaN and are left out everywhere.
struct EpochRow {
  std::int64_t epoch = 0;   ///< counted from 1
  std::int64_t epochs = 0;  ///< planned
  std::int64_t step = 0;    ///< optimizer steps since the beginning
  double seconds = 0;       ///< training and validation of this epoch
  double train_loss = std::numeric_limits<double>::quiet_NaN();
  double valid_loss = std::numeric_limits<double>::quiet_NaN();
  double learning_rate = std::numeric_limits<double>::quiet_NaN();
  double samples_per_second = std::numeric_limits<double>::quiet_NaN();  ///< training, all ranks
  StepSplit split = {};
  LoaderSplit loader = {};
  std::int64_t bad_samples = 0;  ///< that could not be read and had weight 0
  /// Loss terms of several networks, means over the epoch: "discriminator_real", "generator_energy" ...
  std::vector<NamedValue> losses = {};
  /// Further metrics in the order of printing: "valid_accuracy", "valid_auc", "valid_rejection_50" ...
  std::vector<NamedValue> metrics = {};
};

/// The name of a loss term in a record of metrics.jsonl: "loss_generator_energy". Records of kind "step" hold
/// terms under the same names.
std::string loss_key(std::string_view term);
/// The loss terms that a record of any kind holds, in its order.
std::vector<NamedValue> parse_losses(const Record& record);

/// {"kind": "epoch", "epoch": ..., "step": ..., ..., "seconds_data": ..., "loss_...": ..., metrics}.
Record make_record(const EpochRow& row);
/// The inverse of `make_record`; nothing for records of another kind.
std::optional<EpochRow> parse_epoch_row(const Record& record);

}  // namespace bunchtrain::report
