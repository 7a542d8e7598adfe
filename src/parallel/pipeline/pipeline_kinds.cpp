// SPDX-License-Identifier: Apache-2.0
// The known schedules. Those that split the backward pass are made in two steps: the order of what others wait for is
// fixed by a pattern, which cannot block; the weight gradients are then put into the gaps that the costs leave.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <string>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"
#include "playing.hpp"

namespace bunchtrain::parallel {
namespace {

struct KindName {
  PipelineKind kind;
  std::string_view name;
};

constexpr std::array<KindName, 5> kKinds = {{{PipelineKind::gpipe, "gpipe"},
                                             {PipelineKind::one_f_one_b, "1f1b"},
                                             {PipelineKind::interleaved, "interleaved"},
                                             {PipelineKind::zero_bubble_h1, "zb-h1"},
                                             {PipelineKind::zero_bubble_v, "zb-v"}}};

using Actions = std::vector<PipelineAction>;

/// Writes a rank's actions; each stage takes its microbatches in order.
class RankWriter {
 public:
  explicit RankWriter(int microbatches) : microbatches_(microbatches) {}

  /// The stage's next microbatch; beyond the last one nothing is written, and the pattern goes on.
  void next(PipelineWork work, int stage) {
    const auto key = static_cast<std::size_t>(2 * stage + (work == PipelineWork::forward ? 0 : 1));
    if (counts_.size() <= key) counts_.resize(key + 1, 0);
    const int microbatch = counts_[key]++;
    if (microbatch < microbatches_)
      actions_.push_back({.work = work, .stage = stage, .microbatch = microbatch});
  }
  void forward(int stage) { next(PipelineWork::forward, stage); }
  void input_gradient(int stage) { next(PipelineWork::input_gradient, stage); }
  void add(const PipelineAction& action) { actions_.push_back(action); }
  Actions take() { return std::move(actions_); }

 private:
  int microbatches_;
  std::vector<int> counts_;
  Actions actions_;
};

Actions gpipe_rank(const PipelineShape& shape, int rank) {
  RankWriter writer(shape.microbatches);
  for (int i = 0; i < shape.microbatches; ++i) writer.forward(rank);
  for (int i = 0; i < shape.microbatches; ++i) writer.next(PipelineWork::backward, rank);
  return writer.take();
}

/// @param backward both gradients, or the input's alone
Actions one_f_one_b_rank(const PipelineShape& shape, int rank, PipelineWork backward) {
  RankWriter writer(shape.microbatches);
  for (int i = 0; i < shape.ranks - rank; ++i) writer.forward(rank);
  for (int i = 0; i < shape.microbatches; ++i) {
    writer.next(backward, rank);
    writer.forward(rank);
  }
  return writer.take();
}

/// The `number`-th forward of a rank, or backward (`mirrored`): rounds of as many microbatches as there are ranks go
/// through all of its stages (Narayanan et al., 2104.04473, section 2.2).
PipelineAction interleaved_action(const PipelineShape& shape, int rank, int number, bool mirrored) {
  const int round = shape.ranks * shape.stages_per_rank;
  const int turn = number % round / shape.ranks;
  const int chunk = mirrored ? shape.stages_per_rank - 1 - turn : turn;
  return {.work = mirrored ? PipelineWork::backward : PipelineWork::forward,
          .stage = chunk * shape.ranks + rank,
          .microbatch = number / round * shape.ranks + number % shape.ranks};
}

Actions interleaved_rank(const PipelineShape& shape, int rank) {
  const int all = shape.microbatches * shape.stages_per_rank;
  const int ahead = std::min(all, 2 * (shape.ranks - rank - 1) + (shape.stages_per_rank - 1) * shape.ranks);
  RankWriter writer(shape.microbatches);
  int forward = 0;
  while (forward < ahead) writer.add(interleaved_action(shape, rank, forward++, false));
  for (int backward = 0; backward < all; ++backward) {
    if (forward < all) writer.add(interleaved_action(shape, rank, forward++, false));
    writer.add(interleaved_action(shape, rank, backward, true));
  }
  return writer.take();
}

/// The V of Qi et al. (2401.10241, section 6): stage `near` on the way in, stage `far` on the way back. Written for at
/// least 2 p - 1 microbatches; those that are not there are left out.
Actions v_rank(const PipelineShape& shape, int rank) {
  const int near = rank, far = 2 * shape.ranks - 1 - rank;
  const int all = std::max(shape.microbatches, 2 * shape.ranks - 1);
  const int ahead = 2 * (shape.ranks - rank) - 1;
  RankWriter writer(shape.microbatches);
  for (int i = 0; i < ahead; ++i) writer.forward(near);
  for (int i = 0; i < rank; ++i) {
    writer.forward(far);
    writer.forward(near);
  }
  for (int i = 0; i < shape.ranks - rank; ++i) {
    writer.forward(far);
    writer.input_gradient(far);
  }
  for (int near_forward = ahead + rank, far_forward = shape.ranks; far_forward < all; ++far_forward) {
    if (near_forward < all) writer.forward(near);
    near_forward = std::min(near_forward + 1, all);
    writer.input_gradient(near);
    writer.forward(far);
    writer.input_gradient(far);
  }
  for (int i = 0; i < rank; ++i) {
    writer.input_gradient(near);
    writer.input_gradient(far);
  }
  for (int i = 0; i < shape.ranks - rank; ++i) writer.input_gradient(near);
  return writer.take();
}

/// A rank while weight gradients are put into its gaps.
struct GapRank {
  Actions order;                            ///< of what others wait for
  std::size_t done = 0;                     ///< of `order`
  std::deque<PipelineAction> waiting = {};  ///< weight gradients that can be done
  double free = 0;
  int held = 0;  ///< activations
  Actions filled = {};

  bool finished() const { return done == order.size() && waiting.empty(); }
};

/// Chooses what the rank does at `rank.free`; nothing: it has to wait.
const PipelineAction* choose(const GapRank& rank, int most_held, const Playing& playing) {
  if (rank.done == rank.order.size()) return &rank.waiting.front();
  const PipelineAction& next = rank.order[rank.done];
  const bool full = next.work == PipelineWork::forward && rank.held >= most_held;
  const double ready = playing.ready(next);
  if (ready <= rank.free && !full) return &next;
  if (rank.waiting.empty()) return nullptr;
  const PipelineAction& gradient = rank.waiting.front();
  // Half of a gap is better than waiting for all of it; less than that would delay those who wait for this rank.
  return full || ready - rank.free >= playing.duration(gradient) / 2 ? &gradient : nullptr;
}

void enter(GapRank& rank, PipelineAction action, Playing& playing) {
  rank.free = playing.play(action, rank.free);
  if (action.work == PipelineWork::weight_gradient) {
    rank.waiting.pop_front();
    --rank.held;
  } else {
    ++rank.done;
    if (action.work == PipelineWork::forward) ++rank.held;
    if (action.work == PipelineWork::input_gradient)
      rank.waiting.push_back(
          {.work = PipelineWork::weight_gradient, .stage = action.stage, .microbatch = action.microbatch});
  }
  rank.filled.push_back(action);
}

/// Plays the orders in time and does weight gradients where a rank would wait, or where it holds as much as it may.
std::vector<Actions> fill_gaps(std::vector<Actions> orders, int most_held, Playing playing) {
  std::vector<GapRank> ranks;
  for (Actions& order : orders) ranks.push_back({.order = std::move(order)});
  while (std::ranges::any_of(ranks, [](const GapRank& rank) { return !rank.finished(); })) {
    GapRank* earliest = nullptr;
    for (GapRank& rank : ranks)
      if (!rank.finished() && (earliest == nullptr || rank.free < earliest->free)) earliest = &rank;
    if (const PipelineAction* action = choose(*earliest, most_held, playing)) {
      enter(*earliest, *action, playing);
      continue;
    }
    // Until what it needs is there, or, if that is not known yet, until another rank has gone on.
    double until = playing.ready(earliest->order[earliest->done]);
    for (const GapRank& rank : ranks)
      if (!rank.finished() && rank.free > earliest->free) until = std::min(until, rank.free);
    earliest->free = until < Playing::kNever ? until : std::nextafter(earliest->free, Playing::kNever);
  }
  std::vector<Actions> filled;
  for (GapRank& rank : ranks) filled.push_back(std::move(rank.filled));
  return filled;
}

void check(PipelineKind kind, const PipelineShape& shape) {
  const auto require = [&](bool holds, std::string_view field, int value, std::string_view allowed) {
    if (!holds) throw ConfigError(field, std::to_string(value), allowed);
  };
  require(shape.ranks >= 1, "pipeline ranks", shape.ranks, "1 or more");
  require(shape.microbatches >= 1, "microbatches", shape.microbatches, "1 or more");
  const int per_rank = shape.stages_per_rank;
  if (kind == PipelineKind::zero_bubble_v) {
    require(per_rank == 2, "stages_per_rank", per_rank, "2 with zb-v");
  } else if (kind == PipelineKind::interleaved) {
    require(per_rank >= 1, "stages_per_rank", per_rank, "1 or more");
    require(shape.microbatches % shape.ranks == 0, "microbatches", shape.microbatches,
            fmt::format("a multiple of the {} ranks with interleaved", shape.ranks));
  } else {
    require(per_rank == 1, "stages_per_rank", per_rank, fmt::format("1 with {}", to_string(kind)));
  }
}

Actions order_of(PipelineKind kind, const PipelineShape& shape, int rank) {
  switch (kind) {
    case PipelineKind::gpipe:
      return gpipe_rank(shape, rank);
    case PipelineKind::one_f_one_b:
      return one_f_one_b_rank(shape, rank, PipelineWork::backward);
    case PipelineKind::interleaved:
      return interleaved_rank(shape, rank);
    case PipelineKind::zero_bubble_h1:
      return one_f_one_b_rank(shape, rank, PipelineWork::input_gradient);
    case PipelineKind::zero_bubble_v:
      return v_rank(shape, rank);
  }
  return {};
}

std::vector<int> ranks_of_stages(const std::vector<Actions>& orders, int stages) {
  std::vector<int> ranks(static_cast<std::size_t>(stages), 0);
  for (std::size_t rank = 0; rank < orders.size(); ++rank)
    for (const PipelineAction& action : orders[rank])
      ranks[static_cast<std::size_t>(action.stage)] = static_cast<int>(rank);
  return ranks;
}

}  // namespace

PipelineSchedule make_schedule(PipelineKind kind, const PipelineShape& shape, const PipelineCosts& costs) {
  check(kind, shape);
  PipelineSchedule schedule{.name = std::string(to_string(kind)),
                            .stages = shape.ranks * shape.stages_per_rank,
                            .microbatches = shape.microbatches,
                            .ranks = {}};
  for (int rank = 0; rank < shape.ranks; ++rank) schedule.ranks.push_back(order_of(kind, shape, rank));
  const Playing playing(ranks_of_stages(schedule.ranks, schedule.stages), shape.microbatches, costs);
  if (kind == PipelineKind::zero_bubble_h1 || kind == PipelineKind::zero_bubble_v)
    schedule.ranks = fill_gaps(std::move(schedule.ranks), shape.ranks * shape.stages_per_rank, playing);
  return schedule;
}

std::string_view to_string(PipelineKind kind) noexcept {
  return std::ranges::find(kKinds, kind, &KindName::kind)->name;
}

PipelineKind parse_pipeline_kind(std::string_view text) {
  const auto found = std::ranges::find(kKinds, text, &KindName::name);
  if (found != kKinds.end()) return found->kind;
  std::vector<std::string_view> names;
  for (const KindName& kind : kKinds) names.push_back(kind.name);
  throw ConfigError("schedule", text, fmt::format("{}", fmt::join(names, ", ")));
}

}  // namespace bunchtrain::parallel
