// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/training_choices.hpp"

#include <fmt/format.h>

#include <charconv>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {

CheckpointInterval parse_checkpoint_interval(std::string_view text) {
  if (text.empty()) return {};
  if (text == "auto") return {.automatic = true};
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  std::string unit(rest, end);
  std::erase(unit, ' ');
  if (error == std::errc() && number > 0) {
    if (unit.empty() || unit == "step" || unit == "steps") return {.steps = number};
    if (unit == "min" || unit == "m" || unit == "minutes") return {.time = std::chrono::minutes(number)};
    if (unit == "s") return {.time = std::chrono::seconds(number)};
  }
  throw ConfigError("checkpoint-every", text, "a number of steps (500) or of minutes (10min), or auto");
}

void CheckpointInterval::validate() const {
  if (steps < 0) throw ConfigError("steps", fmt::format("{}", steps), "0 (none) or more");
  if (time.count() < 0)
    throw ConfigError("time", fmt::format("{} s", time.count()), "0 (none) or a duration");
  if (!(most_stolen > 0 && most_stolen < 1))
    throw ConfigError("most_stolen", fmt::format("{}", most_stolen), "a share between 0 and 1, such as 0.03");
  if (shortest.count() < 0 || longest < shortest)
    throw ConfigError("longest", fmt::format("{} s", longest.count()),
                      fmt::format("a duration not below shortest ({} s)", shortest.count()));
}

std::string to_string(const CheckpointInterval& interval) {
  if (interval.automatic) return "auto";
  if (interval.steps > 0) return fmt::format("{}", interval.steps);
  return interval.time.count() > 0 ? fmt::format("{}s", interval.time.count()) : "";
}

CheckFinite parse_check_finite(std::string_view text) {
  for (const CheckFinite check : {CheckFinite::stop, CheckFinite::skip})
    if (text == to_string(check)) return check;
  throw ConfigError("check-finite", text, "stop, skip");
}

OnBad parse_on_bad(std::string_view text) {
  for (const OnBad choice : {OnBad::stop, OnBad::skip})
    if (text == to_string(choice)) return choice;
  throw ConfigError("on-bad", text, "stop, skip");
}

std::string_view to_string(OnBad choice) noexcept { return choice == OnBad::stop ? "stop" : "skip"; }

std::string_view to_string(CheckFinite check) noexcept {
  return check == CheckFinite::stop ? "stop" : "skip";
}

}  // namespace bunchtrain::train
