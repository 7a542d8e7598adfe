// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Where a run stands, and how that is put into a snapshot and taken out again.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/checkpoint/host_copies.hpp"
#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/report/epoch_row.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "run_facts.hpp"

namespace bunchtrain::train {

/// The counters of a run. Sums are over the current epoch and over all ranks.
struct RunState {
  std::int64_t step = 0;               ///< optimizer steps done
  std::int64_t epoch = 0;              ///< the current epoch, from 0
  double loss_sum = 0;                 ///< loss times what it is a mean over
  double loss_count = 0;               ///< samples; elements, if the objective is a mean over them
  std::vector<double> term_sums = {};  ///< loss terms likewise, in the order of the step
  std::vector<std::string> term_names = {};
  std::int64_t epoch_steps = 0;
  std::int64_t bad_samples = 0;  ///< that had weight 0, as they could not be read
  bool epoch_trained = false;    ///< its steps are done; what is missing is its validation
  double seconds = 0;            ///< since this process took the epoch up, with its samples and steps
  double timed_samples = 0;
  std::int64_t timed_steps = 0;
  report::StepSplit split = {};             ///< sums over the timed steps of this rank, seconds
  std::int64_t unsynchronized_samples = 0;  ///< of this rank, since batch-norm buffers were combined
  /// Steps that the plan does not count: done before a resumed run changed batch, data or steps per epoch.
  std::int64_t unplanned_steps = 0;
  std::int64_t left_out = 0;         ///< steps whose gradients were not finite
  std::int64_t left_out_in_row = 0;  ///< up to the newest step

  /// Where the run stands in its plan, from which length and schedule follow.
  std::int64_t planned_step() const noexcept { return step - unplanned_steps; }

  void start_next_epoch();
  void start_epoch_anew();
};

/// What a snapshot keeps of the plan of its run; nothing is known of those of version 0.1.
struct SavedPlan {
  std::vector<Fact> facts = {};
  std::int64_t steps_per_epoch = 0;
  std::int64_t schedule_steps = 0;
};
/// @throws CheckpointError if it is damaged.
SavedPlan saved_plan(const checkpoint::Snapshot& snapshot);

/// Collective. Everything a run needs to go on, in copies on the CPU: it is written while the networks train on. Floating buffers go into "model" combined over ranks and into
/// the rank's own components as they are: resuming at the same world size is bit-equal, at another one sound.
struct CapturedState {
  checkpoint::Components replicated;
  checkpoint::Components of_rank;
};
CapturedState capture(const RunState& state, std::span<const TrainedNetwork> networks,
                      const data::DataLoader& loader, const SavedPlan& plan, checkpoint::HostCopies& copies);

/// The same of averaged weights.
void add_averages(CapturedState& captured, const checkpoint::Components& averages,
                  std::span<const TrainedNetwork> networks, checkpoint::HostCopies& copies);

/// The order of samples that a snapshot goes on in.
enum class SampleOrder {
  same,          ///< its own: data, seed and batch are the same
  same_if_data,  ///< its own if the data are the same: version 0.1 took other fingerprints of files
  other,         ///< another one, in which the pass through the data that it was in begins anew
};
SampleOrder order_of(const checkpoint::Snapshot& snapshot, const data::DataLoader& loader);

/// The first network's first tensor that holds NaN or infinity ("generator: conv.weight");
/// empty if all are finite.
std::string find_not_finite(const CapturedState& state);

/// Puts a snapshot back. @throws CheckpointError naming the first differing parameter and shape.
RunState restore(const checkpoint::Snapshot& snapshot, std::span<const TrainedNetwork> networks,
                 data::DataLoader& loader, SampleOrder order = SampleOrder::same);

/// "model", or "generator-model" with several networks.
std::string component_name(std::span<const TrainedNetwork> networks, const TrainedNetwork& network,
                           std::string_view part);

}  // namespace bunchtrain::train
