// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/pipeline_schedule.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::parallel {
namespace {

struct WorkLetter {
  PipelineWork work;
  char letter;
  std::string_view name;
};

constexpr std::array<WorkLetter, 4> kWorks = {{{PipelineWork::forward, 'F', "forward"},
                                               {PipelineWork::backward, 'B', "backward"},
                                               {PipelineWork::input_gradient, 'I', "input gradient"},
                                               {PipelineWork::weight_gradient, 'W', "weight gradient"}}};

const WorkLetter& letter_of(PipelineWork work) { return *std::ranges::find(kWorks, work, &WorkLetter::work); }

/// How far a stage is with a microbatch.
struct Progress {
  bool forward = false, input_gradient = false, weight_gradient = false;
};

/// What one stage has done, and where.
struct StageProgress {
  std::optional<std::size_t> rank;
  std::vector<Progress> microbatches;
};

[[noreturn]] void refuse(const PipelineSchedule& schedule, std::size_t rank, const PipelineAction& action,
                         std::string_view why) {
  throw ConfigError(fmt::format("schedule {}, rank {}: {} {}", schedule.name, rank, describe(action), why));
}

/// Enters an action; what is wrong with it, or nothing.
std::string_view enter(const PipelineAction& action, Progress& progress) {
  if (action.work == PipelineWork::forward)
    return std::exchange(progress.forward, true) ? "is done twice" : "";
  if (!progress.forward) return "comes before its forward";
  if (action.work == PipelineWork::weight_gradient) {
    if (!progress.input_gradient) return "comes before its input gradient";
    return std::exchange(progress.weight_gradient, true) ? "is done twice" : "";
  }
  if (std::exchange(progress.input_gradient, true)) return "is done twice";
  if (action.work == PipelineWork::backward) progress.weight_gradient = true;
  return "";
}

void enter_rank(const PipelineSchedule& schedule, std::size_t rank, std::vector<StageProgress>& stages) {
  for (const PipelineAction& action : schedule.ranks[rank]) {
    if (action.stage < 0 || action.stage >= schedule.stages)
      refuse(schedule, rank, action, fmt::format("is of no stage: there are {}", schedule.stages));
    if (action.microbatch < 0 || action.microbatch >= schedule.microbatches)
      refuse(schedule, rank, action, fmt::format("is of no microbatch: there are {}", schedule.microbatches));
    StageProgress& stage = stages[static_cast<std::size_t>(action.stage)];
    if (stage.rank.value_or(rank) != rank)
      refuse(schedule, rank, action, fmt::format("is of a stage that rank {} has", *stage.rank));
    stage.rank = rank;
    const auto fault = enter(action, stage.microbatches[static_cast<std::size_t>(action.microbatch)]);
    if (!fault.empty()) refuse(schedule, rank, action, fault);
  }
}

/// The number that a text begins with; the text goes on behind it.
std::optional<int> take_number(std::string_view& text) {
  int number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc() || number < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

std::optional<PipelineAction> read_action(std::string_view word) {
  const auto stage = take_number(word);
  if (!stage || word.empty()) return std::nullopt;
  const auto work = std::ranges::find(kWorks, word.front(), &WorkLetter::letter);
  word.remove_prefix(1);
  const auto microbatch = take_number(word);
  if (work == kWorks.end() || !microbatch || !word.empty()) return std::nullopt;
  return PipelineAction{.work = work->work, .stage = *stage, .microbatch = *microbatch};
}

std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// The part up to `separator`; the text goes on behind it.
std::string_view take_part(std::string_view& text, char separator) {
  const auto end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return without_blanks(part);
}

std::vector<PipelineAction> read_rank(std::string_view line, std::size_t number, std::string_view origin) {
  std::vector<PipelineAction> actions;
  for (int cell = 1; !line.empty(); ++cell) {
    const std::string_view word = take_part(line, ',');
    if (word.empty()) continue;
    const auto action = read_action(word);
    if (!action)
      throw ConfigError(
          fmt::format("{}, line {}, cell {}: '{}' is no action; write a stage, one of F, B, I, W and a "
                      "microbatch, as in 2F0",
                      origin, number, cell, word));
    actions.push_back(*action);
  }
  return actions;
}

}  // namespace

int PipelineSchedule::rank_of(int stage) const {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    if (std::ranges::any_of(ranks[rank], [&](const PipelineAction& action) { return action.stage == stage; }))
      return static_cast<int>(rank);
  throw ConfigError("stage", std::to_string(stage), fmt::format("0 to {}", stages - 1));
}

void PipelineSchedule::validate() const {
  if (ranks.empty() || stages < 1 || microbatches < 1)
    throw ConfigError(
        fmt::format("schedule {}: has nothing to do; give it a rank, a stage and a microbatch", name));
  std::size_t actions = 0;
  for (const auto& rank : ranks) actions += rank.size();
  if (actions / static_cast<std::size_t>(stages) < static_cast<std::size_t>(microbatches))
    throw ConfigError(fmt::format("schedule {}: {} actions are too few for {} stages and {} microbatches",
                                  name, actions, stages, microbatches));
  std::vector<StageProgress> entered(static_cast<std::size_t>(stages));
  for (StageProgress& stage : entered) stage.microbatches.resize(static_cast<std::size_t>(microbatches));
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) enter_rank(*this, rank, entered);
  for (int stage = 0; stage < stages; ++stage)
    for (int microbatch = 0; microbatch < microbatches; ++microbatch) {
      const Progress& seen =
          entered[static_cast<std::size_t>(stage)].microbatches[static_cast<std::size_t>(microbatch)];
      if (seen.weight_gradient) continue;
      const auto missing = !seen.forward          ? PipelineWork::forward
                           : !seen.input_gradient ? PipelineWork::backward
                                                  : PipelineWork::weight_gradient;
      throw ConfigError(fmt::format("schedule {}: {} is missing", name,
                                    describe({.work = missing, .stage = stage, .microbatch = microbatch})));
    }
}

std::string describe(const PipelineAction& action) {
  return fmt::format("stage {} {} of microbatch {}", action.stage, letter_of(action.work).name,
                     action.microbatch);
}

std::string to_text(const PipelineSchedule& schedule) {
  std::string text = fmt::format("# {}: {} stages, {} microbatches\n", schedule.name, schedule.stages,
                                 schedule.microbatches);
  for (const auto& actions : schedule.ranks) {
    std::vector<std::string> words;
    for (const PipelineAction& action : actions)
      words.push_back(fmt::format("{}{}{}", action.stage, letter_of(action.work).letter, action.microbatch));
    text += fmt::format("{}\n", fmt::join(words, ","));
  }
  return text;
}

PipelineSchedule parse_schedule(std::string_view text, std::string_view origin) {
  PipelineSchedule schedule{.name = std::string(origin), .ranks = {}};
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = take_part(text, '\n');
    if (line.empty() || line.front() == '#') continue;
    schedule.ranks.push_back(read_rank(line, number, origin));
    for (const PipelineAction& action : schedule.ranks.back()) {
      schedule.stages = std::max(schedule.stages, action.stage + 1);
      schedule.microbatches = std::max(schedule.microbatches, action.microbatch + 1);
    }
  }
  schedule.validate();
  return schedule;
}

}  // namespace bunchtrain::parallel
