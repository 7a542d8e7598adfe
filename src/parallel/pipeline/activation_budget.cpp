// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/activation_budget.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::parallel {
namespace {

constexpr int kGrid = 8192;
constexpr double kNever = std::numeric_limits<double>::infinity();

/// A unit that may be computed again: it then keeps what it read and wrote, and nothing of its inside.
struct Candidate {
  const PipelineUnit* unit;
  double saved;
};

double saved_by(const PipelineUnit& unit) {
  return std::max(0.0, unit.costs.activation_bytes - unit.output_bytes - unit.revived_bytes);
}

double all_bytes(const UnitProfile& profile) {
  double bytes = 0;
  for (const PipelineUnit& unit : profile.units) bytes += unit.costs.activation_bytes - unit.transient_bytes;
  return bytes;
}

/// Of a choice, per sample.
ActivationChoice described(const UnitProfile& profile, const std::vector<const PipelineUnit*>& chosen) {
  ActivationChoice choice{.bytes = all_bytes(profile)};
  double largest = 0;
  for (const PipelineUnit* const unit : chosen) {
    choice.recomputed.insert(unit->name);
    choice.bytes -= saved_by(*unit);
    choice.extra_seconds += unit->costs.forward;
    largest = std::max(largest, unit->costs.activation_bytes);
  }
  choice.bytes += largest;
  return choice;
}

/// All candidates, where it is the rounding alone that says they do not save enough.
std::optional<std::vector<const PipelineUnit*>> all_of(const std::vector<Candidate>& candidates,
                                                       double needed) {
  std::vector<const PipelineUnit*> all;
  for (const Candidate& each : candidates) {
    all.push_back(each.unit);
    needed -= each.saved;
  }
  return needed > 1e-6 ? std::nullopt : std::optional(all);
}

/// The cheapest of some candidates that save `needed` together; nothing if all of them do not.
std::optional<std::vector<const PipelineUnit*>> cheapest(const std::vector<Candidate>& candidates,
                                                         double needed, double grain) {
  const int goal = static_cast<int>(std::ceil(needed / grain));
  // cost[s]: least time to save s grains or more, with the candidates so far; taken[i][s]: whether the i-th is among them.
  std::vector<double> cost(static_cast<std::size_t>(goal) + 1, kNever);
  cost[0] = 0;
  std::vector<std::vector<bool>> taken(candidates.size(), std::vector<bool>(cost.size(), false));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const int saved = static_cast<int>(candidates[i].saved / grain);
    if (saved == 0) continue;
    for (int s = goal; s > 0; --s) {
      const double with =
          cost[static_cast<std::size_t>(std::max(0, s - saved))] + candidates[i].unit->costs.forward;
      if (with >= cost[static_cast<std::size_t>(s)]) continue;
      cost[static_cast<std::size_t>(s)] = with;
      taken[i][static_cast<std::size_t>(s)] = true;
    }
  }
  if (cost.back() == kNever) return all_of(candidates, needed);
  std::vector<const PipelineUnit*> chosen;
  int left = goal;
  for (std::size_t i = candidates.size(); i-- > 0 && left > 0;)
    if (taken[i][static_cast<std::size_t>(left)]) {
      chosen.push_back(candidates[i].unit);
      left = std::max(0, left - static_cast<int>(candidates[i].saved / grain));
    }
  return chosen;
}

/// Were time no matter.
double least_bytes(const UnitProfile& profile) {
  double least = all_bytes(profile);
  for (const PipelineUnit& largest : profile.units) {
    std::vector<const PipelineUnit*> smaller;
    for (const PipelineUnit& unit : profile.units)
      if (unit.costs.activation_bytes <= largest.costs.activation_bytes) smaller.push_back(&unit);
    least = std::min(least, described(profile, smaller).bytes);
  }
  return least;
}

/// Of one sample; nothing if no choice fits.
std::optional<ActivationChoice> fastest(const UnitProfile& profile, double per_sample) {
  const double all = all_bytes(profile);
  std::optional<ActivationChoice> best;
  if (all <= per_sample) best = described(profile, {});
  // Whichever of the chosen is largest: no larger one is chosen, and its own bytes are left free.
  for (const PipelineUnit& largest : profile.units) {
    if (best && best->extra_seconds == 0) break;
    const double room = per_sample - largest.costs.activation_bytes;
    if (room <= 0) continue;
    std::vector<Candidate> candidates;
    for (const PipelineUnit& unit : profile.units)
      if (unit.costs.activation_bytes <= largest.costs.activation_bytes)
        candidates.push_back({.unit = &unit, .saved = saved_by(unit)});
    const auto chosen = cheapest(candidates, std::max(0.0, all - room), all / kGrid);
    if (!chosen) continue;
    const ActivationChoice choice = described(profile, *chosen);
    if (!best || choice.extra_seconds < best->extra_seconds) best = choice;
  }
  return best;
}

/// What is transient counted as kept by who wrote it, rather than by each who is computed again.
UnitProfile with_kept_outputs(UnitProfile profile) {
  for (PipelineUnit& unit : profile.units) unit.transient_bytes = unit.revived_bytes = 0;
  return profile;
}

}  // namespace

ActivationChoice choose_recomputed(const UnitProfile& profile, std::int64_t samples, double bytes) {
  const double per_sample = bytes / static_cast<double>(samples);
  const UnitProfile kept = with_kept_outputs(profile);
  std::optional<ActivationChoice> best = fastest(profile, per_sample), other = fastest(kept, per_sample);
  // Both count at least what is held.
  if (other && (!best || other->extra_seconds < best->extra_seconds)) best = other;
  if (!best)
    throw ConfigError(
        "activation_bytes", fmt::format("{:.3g}", bytes),
        fmt::format(
            "at least {:.3g} bytes, what {} samples need with all but the largest units computed again",
            std::min(least_bytes(profile), least_bytes(kept)) * static_cast<double>(samples), samples));
  best->bytes *= static_cast<double>(samples);
  best->extra_seconds *= static_cast<double>(samples);
  return *best;
}

}  // namespace bunchtrain::parallel
