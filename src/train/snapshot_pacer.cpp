// SPDX-License-Identifier: Apache-2.0
#include "snapshot_pacer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "bunchtrain/core/text_format.hpp"

namespace bunchtrain::train {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kStepsBeforeProbe = 10;
/// The first steps of a process make plans and caches.
constexpr std::int64_t kWarmUp = 3;

double seconds_of(std::chrono::seconds duration) { return static_cast<double>(duration.count()); }

std::string milliseconds(double seconds) { return fmt::format("{:.3g} ms", 1e3 * seconds); }

}  // namespace

void SnapshotPacer::count_step(double seconds, bool writing) {
  if (++steps_ <= kWarmUp && !pace_ && !copy_) return;
  Steps& steps = writing ? beside_ : undisturbed_;
  steps.seconds += seconds;
  ++steps.count;
}

void SnapshotPacer::count_copy(double seconds) {
  copy_ = seconds;
  beside_ = {};
  steps_ = 0;
}

void SnapshotPacer::count_commit(double seconds, bool waited) {
  if (!copy_) return;
  const double copied = *std::exchange(copy_, std::nullopt);
  if (waited && pace_ && !pace_waited_)
    return;  // at the end of an epoch, say: it tells nothing of the others
  const double slower = undisturbed_.count > 0 ? std::max(0.0, beside_.mean() - undisturbed_.mean()) : 0.0;
  SnapshotPace pace{.step_seconds = undisturbed_.mean(),
                    .copy_seconds = copied,
                    .commit_seconds = seconds,
                    .slowdown_seconds = slower * static_cast<double>(beside_.count),
                    .most_stolen = interval_.most_stolen};
  pace.interval_seconds = std::clamp(pace.stolen_seconds() / interval_.most_stolen,
                                     seconds_of(interval_.shortest), seconds_of(interval_.longest));
  pace_ = pace;
  pace_waited_ = waited;
}

bool SnapshotPacer::probe_due() const noexcept { return !pace_ && !copy_ && steps_ >= kStepsBeforeProbe; }

std::string with_pace(const std::string& json, const SnapshotPace& pace) {
  Json content = Json::parse(json);
  content["snapshots"] = {{"interval", pace.interval_seconds},
                          {"step", pace.step_seconds},
                          {"copy", pace.copy_seconds},
                          {"commit", pace.commit_seconds},
                          {"slower steps", pace.slowdown_seconds},
                          {"most stolen", pace.most_stolen}};
  return content.dump(2) + "\n";
}

std::optional<report::Section> pace_section(const std::string& json) {
  const Json content = Json::parse(json, nullptr, false);
  if (!content.is_object() || !content.contains("snapshots") || !content["snapshots"].is_object())
    return std::nullopt;
  const Json& saved = content["snapshots"];
  const auto number = [&](const char* name) {
    const auto found = saved.find(name);
    return found != saved.end() && found->is_number() ? found->get<double>() : 0.0;
  };
  const SnapshotPace pace{.interval_seconds = number("interval"),
                          .step_seconds = number("step"),
                          .copy_seconds = number("copy"),
                          .commit_seconds = number("commit"),
                          .slowdown_seconds = number("slower steps"),
                          .most_stolen = number("most stolen")};
  return report::Section{
      .title = "Snapshots",
      .paragraphs = {fmt::format(
          "One every {} and at the end of every epoch, as often as {:.3g} % of the time of training allows.",
          format_duration(pace.interval_seconds), 100 * pace.most_stolen)},
      .table = {.header = {"what one takes from the steps", "time"},
                .rows = {{"copy of the state", milliseconds(pace.copy_seconds)},
                         {"commit of all ranks", milliseconds(pace.commit_seconds)},
                         {"slower steps while it is written", milliseconds(pace.slowdown_seconds)},
                         {"together", milliseconds(pace.stolen_seconds())},
                         {"a step, for comparison", milliseconds(pace.step_seconds)}}}};
}

std::string to_string(const SnapshotPace& pace) {
  return fmt::format(
      "every {}: one takes {} from the steps (copy {}, commit {}, slower steps {}; a step takes {})",
      format_duration(pace.interval_seconds), milliseconds(pace.stolen_seconds()),
      milliseconds(pace.copy_seconds), milliseconds(pace.commit_seconds), milliseconds(pace.slowdown_seconds),
      milliseconds(pace.step_seconds));
}

}  // namespace bunchtrain::train
