// SPDX-License-Identifier: Apache-2.0
// When a training writes its state, and what it writes.
#include <fmt/format.h>

#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/train/detail/averaged_weights.hpp"
#include "bunchtrain/train/detail/trained_on.hpp"
#include "replica_check.hpp"
#include "run_bundle.hpp"
#include "training_loop.hpp"
#include "watching.hpp"

namespace bunchtrain::train {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

void TrainingLoop::halt(const std::string& reason, std::int64_t step) {
  if (!snapshots_.holds(state_.step)) save();
  commit_snapshot();
  snapshots_.upload_all();
  throw TrainingHalted(
      fmt::format("{} (step {}; a snapshot is in {})", reason, step, snapshots_.folder().string()));
}

/// The best weights of a run, as they were judged; the newest as long as nothing has a score. It can be made again
/// from the snapshot: what goes wrong costs a warning.
void TrainingLoop::keep_bundle(const ValidationResult& found) {
  if (const auto best = snapshots_.best(); best && *best != state_.step) return;
  const Averages::Exchanged averaged(averages_);
  std::vector<BundledNetwork> networks;
  for (const auto& network : task_.networks)
    networks.push_back({.name = network.name,
                        .description = nn::describe(network.engine->module()),
                        .weights = network.engine->gather()});
  Watching(session_.logger()).try_to("write the bundle", [&] {
    write_run_bundles(session_, networks,
                      {.data = train_->summary(),
                       .step = state_.step,
                       .epoch = state_.epoch + (state_.epoch_trained ? 1 : 0),
                       .score_name = found.score_name,
                       .score = found.score,
                       .snapshot = snapshots_.newest(),
                       .metadata = task_.options.metadata});
  });
}

/// The copy is taken here, the files are written beside the steps that follow: `commit_snapshot` ends it once they are there on
/// all ranks, at the next snapshot, before anything judges it, and before the run ends.
void TrainingLoop::save() {
  const auto start = Clock::now();
  commit_snapshot();  // the one before
  last_end_.reset();
  session_.run_folder().require_owned(session_.control());
  if (settings_.check_replicas >= 0)
    require_equal_replicas(session_.mesh().shape(), session_.control(), task_.networks, state_.step);
  CapturedState captured = capture(state_, task_.networks, loader_,
                                   {.facts = plan_.facts,
                                    .steps_per_epoch = plan_.length.steps_per_epoch,
                                    .schedule_steps = plan_.length.schedule_steps},
                                   copies_);
  add_averages(captured, averages_.state(), task_.networks, copies_);
  checkpoint::Metadata metadata(task_.options.metadata.begin(), task_.options.metadata.end());
  if (const auto& card = train_->summary().card; !card.empty()) metadata["card"] = card;
  metadata["epoch"] = fmt::format("{}", state_.epoch + (state_.epoch_trained ? 1 : 0));
  if (auto trained_on = to_text(train_->summary()); !trained_on.empty())
    metadata[kTrainedOnKey] = std::move(trained_on);
  if (settings_.ema > 0) metadata[kAverageKey] = fmt::format("{}", settings_.ema);
  metadata.merge(callback_states());
  if (const std::string lost = agreed_lost_weights(captured); !lost.empty())
    snapshots_.halt(fmt::format("weights are not finite after step {} ({})", state_.step, lost),
                    state_.step - unseen_steps());
  snapshots_.save(state_.step, std::move(captured), std::move(metadata));
  snapshots_.pacer().count_copy(seconds_since(start));
}

/// Collective. Nothing without a snapshot in flight.
void TrainingLoop::commit_snapshot(Commit how) {
  if (!snapshots_.saving()) return;
  const auto start = Clock::now();
  const auto folder = snapshots_.commit();
  snapshots_.pacer().count_commit(seconds_since(start), how == Commit::waits);
  tell_pace();
  alone([&] {
    for (const auto& callback : task_.callbacks) callback->on_checkpoint(folder);
  });
}

void TrainingLoop::tell_pace() {
  const auto& pace = snapshots_.pacer().pace();
  if (!settings_.checkpoint_every.automatic || !pace || std::exchange(pace_told_, true)) return;
  observers_->snapshot_pace(*pace);
  observers_->note("snapshots " + to_string(*pace));
}

/// Collective. The first tensor with NaN or infinity, of the first rank that has one.
std::string TrainingLoop::agreed_lost_weights(const CapturedState& captured) const {
  try {
    session_.control().agree_or_throw(find_not_finite(captured));
    return {};
  } catch (const DataError& found) {
    return found.message();
  }
}

std::map<std::string, std::string> TrainingLoop::callback_states() const {
  std::map<std::string, std::string> states;
  for (const auto& callback : task_.callbacks)
    if (const std::string name = callback->name(); !name.empty())
      states[kCallbackPrefix + name] = callback->state();
  return states;
}

}  // namespace bunchtrain::train
