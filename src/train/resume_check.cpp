// SPDX-License-Identifier: Apache-2.0
#include "resume_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"

namespace bunchtrain::train {
namespace {

/// They matter through the data and the card that come out of them only: another name for
/// the same card is no change.
constexpr std::array<std::string_view, 4> kOfData = {"card", "particles", "classes", "valid-fraction"};
constexpr std::array<std::string_view, 3> kData = {"resolved card", "training data", "validation data"};

bool same_value(std::span<const Fact> a, std::span<const Fact> b, std::string_view name) {
  const Fact* first = find_fact(a, name);
  const Fact* second = find_fact(b, name);
  return first && second ? *first == *second : first == second;
}

std::string describe_change(const Fact* saved, const Fact* now) {
  if (!saved) return fmt::format("{} was not known, is {}", now->name, shown_beside(*now, {}));
  if (!now) return fmt::format("{} was {}, is not used now", saved->name, shown_beside(*saved, {}));
  return fmt::format("{} was {}, is {}", saved->name, shown_beside(*saved, *now), shown_beside(*now, *saved));
}

void add_change(Changes& changes, const Fact* saved, const Fact* now) {
  const Fact& fact = now ? *now : *saved;
  std::string line = describe_change(saved, now);
  switch (fact.kind) {
    case Fact::Kind::setting:
      changes.settings.push_back(std::move(line));
      break;
    case Fact::Kind::length:
      changes.lengths.push_back(std::move(line));
      break;
    case Fact::Kind::derived:
      changes.derived.push_back(std::move(line));
      break;
  }
}

}  // namespace

Changes compare_facts(std::span<const Fact> saved, std::span<const Fact> now) {
  const bool same_data = std::ranges::all_of(kData, [&](auto name) { return same_value(saved, now, name); });
  Changes changes;
  const auto look_at = [&](const Fact* before, const Fact* after) {
    const std::string& name = before ? before->name : after->name;
    if (same_data && std::ranges::find(kOfData, name) != kOfData.end()) return;
    // What came or went at its default changed nothing by itself: what did is another fact.
    if ((!before || !after) && (before ? before : after)->origin == "default") return;
    if (!before || !after || *before != *after) add_change(changes, before, after);
  };
  for (const auto& fact : now) look_at(find_fact(saved, fact.name), &fact);
  for (const auto& fact : saved)
    if (!find_fact(now, fact.name)) look_at(&fact, nullptr);
  const Fact* before = find_fact(saved, "precision");
  const Fact* after = find_fact(now, "precision");
  const auto is_float64 = [](const Fact* fact) {
    return fact && fact->value.find("float64") != std::string::npos;
  };
  changes.float64 = before && after && is_float64(before) != is_float64(after);
  return changes;
}

void require_unchanged(const Changes& changes, const std::string& run_folder, bool allowed) {
  const auto& lines = changes.foremost();
  if (lines.empty() || (allowed && !changes.float64)) return;
  const std::string differences = fmt::format("{}", fmt::join(lines, "\n  "));
  if (changes.float64)
    throw ConfigError(
        fmt::format("the run in {} cannot go on in this precision:\n  {}\ngive the same {}, or "
                    "start a new run from its weights",
                    run_folder, differences, setting("precision")));
  throw ConfigError(fmt::format(
      "the run in {} was trained otherwise:\n  {}\ngive the same to go on with it, or accept what differs by "
      "{} {}",
      run_folder, differences, setting("resume"), setting("allow_changed")));
}

}  // namespace bunchtrain::train
