// SPDX-License-Identifier: Apache-2.0
#include "resume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "resume_check.hpp"

namespace bunchtrain::train {
namespace {

/// The plan of the learning rate that the snapshot was written under, in steps of now.
std::int64_t scheduled_before(const SavedPlan& saved, const RunLength& now) {
  if (saved.schedule_steps == 0) return now.schedule_steps;
  if (saved.steps_per_epoch == now.steps_per_epoch) return saved.schedule_steps;
  const double epochs =
      static_cast<double>(saved.schedule_steps) / static_cast<double>(saved.steps_per_epoch);
  return std::max<std::int64_t>(1, std::llround(epochs * static_cast<double>(now.steps_per_epoch)));
}

/// What the plan of now counts for the epochs that are done.
std::int64_t steps_of_plan(const RunState& state, const RunLength& now) {
  const std::int64_t whole = state.epoch + (state.epoch_trained ? 1 : 0);
  return whole * now.steps_per_epoch + (state.epoch_trained ? 0 : state.epoch_steps);
}

std::string rate_remark(const TrainingPlan& plan, std::int64_t steps, bool rescheduled) {
  const bool as_planned = steps == plan.length.total_steps && !rescheduled;
  if (as_planned || plan.settings.schedule == optim::ScheduleKind::constant) return {};
  if (rescheduled) return fmt::format("; the learning rate is planned anew, over {} steps", steps);
  return fmt::format("; the learning rate keeps to its plan over {} steps, {} makes a new one over {}", steps,
                     setting("reschedule"), plan.length.total_steps);
}

/// The order to go on in. What differs otherwise is named by the loader.
SampleOrder choose_order(const checkpoint::Snapshot& snapshot, const data::DataLoader& loader,
                         const std::string& run_folder, bool allowed) {
  const SampleOrder order = order_of(snapshot, loader);
  if (allowed) return order;
  if (order == SampleOrder::same_if_data)
    throw ConfigError(fmt::format(
        "the run in {} was written by version 0.1, whose fingerprints of files cannot be compared with those "
        "of this version: if its data are the same, go on in their order by {} {}",
        run_folder, setting("resume"), setting("allow_changed")));
  return SampleOrder::same;
}

}  // namespace

Resumed resume_from(const checkpoint::Snapshot& snapshot, const TrainingPlan& plan, const Session& session,
                    const std::string& run_folder, std::span<const TrainedNetwork> networks,
                    data::DataLoader& loader) {
  for (const char* name : {"allow-changed", "reschedule"}) session.use(name);
  const bool allowed = session.asked().allow_changed;
  const bool reschedule = session.asked().reschedule;
  const SavedPlan saved = saved_plan(snapshot);
  const Changes changes = saved.facts.empty() ? Changes{} : compare_facts(saved.facts, plan.facts);
  require_unchanged(changes, run_folder, allowed);

  const SampleOrder order = choose_order(snapshot, loader, run_folder, allowed);
  const bool other_order = order == SampleOrder::other;
  Resumed resumed{.state = restore(snapshot, networks, loader, order), .length = plan.length};
  RunState& state = resumed.state;
  if (state.epoch_trained && snapshot.info.judged) state.start_next_epoch();
  const bool begins_anew = other_order && !state.epoch_trained && state.epoch_steps > 0;
  if (begins_anew) state.start_epoch_anew();
  const bool other_epochs = saved.steps_per_epoch > 0 && saved.steps_per_epoch != plan.length.steps_per_epoch;
  if (other_order || other_epochs) state.unplanned_steps = state.step - steps_of_plan(state, plan.length);
  if (!reschedule) resumed.length.schedule_steps = scheduled_before(saved, plan.length);

  for (const auto* lines : {&changes.settings, &changes.derived})
    for (const auto& line : *lines) resumed.remarks.push_back("changed: " + line);
  if (order == SampleOrder::same_if_data)
    resumed.remarks.push_back("the data are taken for those of the run, which version 0.1 wrote");
  if (other_order)
    resumed.remarks.push_back("the order of samples is another one from here on" +
                              (begins_anew ? fmt::format(": epoch {} begins anew", state.epoch + 1) : ""));
  for (const auto& line : changes.lengths)
    resumed.remarks.push_back(line + rate_remark(plan, resumed.length.schedule_steps, reschedule));
  if (snapshot.info.world != session.size())
    resumed.remarks.push_back(fmt::format(
        "resumed at {} rank{}, saved at {}{}", session.size(), session.size() == 1 ? "" : "s",
        snapshot.info.world,
        other_order ? "" : ": the order of samples is the same, the last bits of the result are not"));
  return resumed;
}

}  // namespace bunchtrain::train
