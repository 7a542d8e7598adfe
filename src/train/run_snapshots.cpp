// SPDX-License-Identifier: Apache-2.0
#include "run_snapshots.hpp"

#include <fmt/format.h>

#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain::train {

RunSnapshots::RunSnapshots(Session& session, const Settings& settings)
    : session_(session),
      every_(settings.checkpoint_every),
      store_(session.run_folder().checkpoints(), session.agreement(),
             {.keep_last = settings.keep_last,
              .keep_best = settings.keep_best,
              .keep_every = settings.keep_every,
              .local = settings.checkpoint_local,
              .metric = "score",
              .logger = session.logger()}) {
  store_.require_local();
}

std::optional<checkpoint::Snapshot> RunSnapshots::load_latest() {
  auto snapshot = store_.load_latest();
  if (snapshot) {
    newest_ = loaded_ = snapshot->info.step;
    newest_folder_ = snapshot->info.folder;
  }
  return snapshot;
}

bool RunSnapshots::due(std::int64_t step) const {
  if (planned(step)) return true;
  if (!session_.is_root()) return false;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - saved_at_;
  if (!every_.automatic) return every_.time.count() > 0 && passed >= every_.time;
  return pacer_.pace() ? passed.count() >= pacer_.pace()->interval_seconds : pacer_.probe_due();
}

void RunSnapshots::save(std::int64_t step, CapturedState state, checkpoint::Metadata metadata) {
  store_.begin({.step = step,
                .components = std::move(state.replicated),
                .rank_components = std::move(state.of_rank),
                .metadata = std::move(metadata),
                .judged = false});
  newest_ = step;
  saved_at_ = std::chrono::steady_clock::now();
}

std::filesystem::path RunSnapshots::commit() {
  newest_folder_ = store_.commit().folder;
  return newest_folder_;
}

void RunSnapshots::mark_lost(std::int64_t step, const std::string& reason) {
  try {
    store_.judge(step, {.lost = reason});
  } catch (const IoError& error) {
    session_.logger().warning(fmt::format("{}; its weights are lost, move the folder away", error.message()));
  }
}

void RunSnapshots::halt(const std::string& reason, std::int64_t first_lost) {
  if (store_.saving()) {
    if (newest_ >= first_lost)
      store_.abandon();
    else
      commit();
  }
  for (const std::int64_t step : store_.steps())
    if (step >= first_lost) mark_lost(step, reason);
  store_.upload_all();
  const auto good = store_.steps();
  const std::string way_on =
      good.empty() ? "There is no snapshot from before: start again by " + setting("resume")
                   : fmt::format(
                         "The newest snapshot whose weights were judged finite is that of step {}: go on "
                         "from it by {} {}",
                         good.front(), setting("resume"), setting("allow_changed"));
  throw TrainingHalted(fmt::format(
      "{}: the networks are lost from here on. {} with a lower {}, or with {} (run folder {})", reason,
      way_on, setting("learning_rate"), setting("clip_norm"), session_.run_folder().path().string()));
}

}  // namespace bunchtrain::train
