// SPDX-License-Identifier: Apache-2.0
// One stage per rank: dynamic programming over cuts. The V of two stages per rank grows from both ends: whoever took the
// first i units of the front is best off if the least is left at the back, so that one number per i is enough; a bound
// on the time of a rank is halved until it is met exactly.
#include "bunchtrain/parallel/pipeline_partition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/pipeline_simulation.hpp"

namespace bunchtrain::parallel {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The most microbatches that each stage holds at a time.
std::vector<int> most_held(PipelineKind kind, const PipelineShape& shape) {
  const PipelineSchedule schedule = make_schedule(kind, shape);
  std::vector<int> most(static_cast<std::size_t>(schedule.stages), 0), held = most;
  for (const auto& actions : schedule.ranks)
    for (const PipelineAction& action : actions) {
      const auto stage = static_cast<std::size_t>(action.stage);
      if (action.work == PipelineWork::forward) most[stage] = std::max(most[stage], ++held[stage]);
      if (action.work == PipelineWork::backward || action.work == PipelineWork::weight_gradient)
        --held[stage];
    }
  return most;
}

/// Times and bytes of any stretch of units, from sums over all before.
class Stretches {
 public:
  explicit Stretches(const PartitionProblem& problem) : count_(static_cast<int>(problem.units.size())) {
    sums_.resize(problem.units.size() + 1);
    for (std::size_t i = 0; i < problem.units.size(); ++i) {
      const PipelineUnit& unit = problem.units[i];
      sums_[i + 1] = {sums_[i].forward + unit.costs.forward, sums_[i].input + unit.costs.input_gradient,
                      sums_[i].weight + unit.costs.weight_gradient,
                      sums_[i].held + unit.costs.activation_bytes,
                      sums_[i].parameters + unit.parameter_bytes};
    }
    cuts_.assign(sums_.size(), 0);
    for (int cut = 1; cut < count_; ++cut) cuts_[at(cut)] = crossing(problem, cut) / problem.bandwidth;
  }

  int count() const noexcept { return count_; }
  /// With what crosses the cut before it, there and back: charged to one side only, so that taking more of the back
  /// never makes it worse for those who come next.
  double time(int begin, int end) const { return time_alone(begin, end) + 2 * cuts_[at(begin)]; }
  double time_alone(int begin, int end) const { return sums_[at(end)].time() - sums_[at(begin)].time(); }
  double bytes(int begin, int end, int held) const {
    const Sums &a = sums_[at(begin)], &b = sums_[at(end)];
    return b.parameters - a.parameters + held * (b.held - a.held);
  }
  StageCosts costs(int begin, int end) const {
    const Sums &a = sums_[at(begin)], &b = sums_[at(end)];
    return {.forward = b.forward - a.forward + cuts_[at(begin)],
            .input_gradient = b.input - a.input + cuts_[at(begin)],
            .weight_gradient = b.weight - a.weight,
            .activation_bytes = b.held - a.held};
  }

 private:
  struct Sums {
    double forward = 0, input = 0, weight = 0, held = 0, parameters = 0;
    double time() const noexcept { return forward + input + weight; }
  };
  static std::size_t at(int unit) { return static_cast<std::size_t>(unit); }
  static double crossing(const PartitionProblem& problem, int cut) {
    double bytes = problem.units[at(cut - 1)].output_bytes;
    for (const PipelineSkip& skip : problem.skips)
      if (skip.from < cut && skip.to >= cut) bytes += skip.bytes;
    return bytes;
  }

  int count_;
  std::vector<Sums> sums_;
  std::vector<double> cuts_;
};

using Begins = std::vector<int>;

/// One stage per rank, or stages that are to be alike: nothing if no cuts fit into the memory of a stage.
std::optional<Begins> cut_chain(const Stretches& units, const std::vector<int>& held, double memory) {
  const auto n = static_cast<std::size_t>(units.count());
  const std::size_t stages = held.size();
  std::vector<double> best(n + 1, kInfinity);
  best[0] = 0;
  std::vector<std::vector<int>> from(stages, std::vector<int>(n + 1, -1));
  for (std::size_t stage = 0; stage < stages; ++stage) {
    std::vector<double> next(n + 1, kInfinity);
    for (int end = 1; end <= units.count(); ++end)
      for (int begin = end; begin-- > 0;) {
        if (units.bytes(begin, end, held[stage]) > memory) break;
        const double slowest = std::max(best[static_cast<std::size_t>(begin)], units.time(begin, end));
        if (slowest >= next[static_cast<std::size_t>(end)]) continue;
        next[static_cast<std::size_t>(end)] = slowest;
        from[stage][static_cast<std::size_t>(end)] = begin;
      }
    best = std::move(next);
  }
  if (best[n] == kInfinity) return std::nullopt;
  Begins begins(stages + 1, units.count());
  for (std::size_t stage = stages; stage-- > 0;)
    begins[stage] = from[stage][static_cast<std::size_t>(begins[stage + 1])];
  return begins;
}

/// The V: rank r has a stretch of the front and one of the back.
class VCuts {
 public:
  VCuts(const Stretches& units, const std::vector<int>& held, double memory)
      : units_(units), held_(held), memory_(memory), ranks_(held.size() / 2) {}

  /// Cuts in which no rank takes longer than `bound`.
  std::optional<Begins> within(double bound) const {
    const auto n = static_cast<std::size_t>(units_.count());
    // left[r][i]: the first unit of the back that ranks before r took, if they took i of the front; -1: cannot be.
    std::vector<std::vector<int>> left(ranks_ + 1, std::vector<int>(n + 1, -1)), from = left;
    left[0][0] = units_.count();
    for (std::size_t rank = 0; rank < ranks_; ++rank)
      for (int front = 0; front < units_.count(); ++front) {
        const int back = left[rank][static_cast<std::size_t>(front)];
        if (back < 0) continue;
        for (int next = front + 1; next < back; ++next) {
          const int taken = take_back(rank, front, next, back, bound);
          int& least = left[rank + 1][static_cast<std::size_t>(next)];
          if (taken >= back || (least >= 0 && least <= taken)) continue;
          least = taken;
          from[rank + 1][static_cast<std::size_t>(next)] = front;
        }
      }
    for (int middle = 1; middle < units_.count(); ++middle)  // nothing is left between front and back
      if (left[ranks_][static_cast<std::size_t>(middle)] == middle) return trace(left, from, middle);
    return std::nullopt;
  }

 private:
  /// The least first unit of the back that the rank can take beside [front, next); `back`: none.
  int take_back(std::size_t rank, int front, int next, int back, double bound) const {
    const double time = bound - units_.time(front, next);
    const int near = held_[rank], far = held_[held_.size() - 1 - rank];
    const double bytes = memory_ - units_.bytes(front, next, near);
    const auto fits = [&](int begin) {
      return units_.time(begin, back) <= time && units_.bytes(begin, back, far) <= bytes;
    };
    const auto others =
        static_cast<int>(2 * (ranks_ - 1 - rank));     // units that the ranks behind it need at least
    if (others == 0) return fits(next) ? next : back;  // all that is left
    // From where on the units alone are fast enough; with what crosses the cut it may be a few units later.
    int begin = next + others;
    for (int end = back; begin < end;) {
      const int middle = begin + (end - begin) / 2;
      if (units_.time_alone(middle, back) <= time) {
        end = middle;
      } else {
        begin = middle + 1;
      }
    }
    while (begin < back && !fits(begin)) ++begin;
    return begin;
  }

  Begins trace(const std::vector<std::vector<int>>& left, const std::vector<std::vector<int>>& from,
               int middle) const {
    Begins begins(2 * ranks_ + 1, units_.count());
    int front = middle;
    for (std::size_t rank = ranks_; rank > 0; --rank) {
      begins[rank] = front;
      begins[2 * ranks_ - rank] = left[rank][static_cast<std::size_t>(front)];
      front = from[rank][static_cast<std::size_t>(front)];
    }
    begins[0] = 0;
    return begins;
  }

  const Stretches& units_;
  const std::vector<int>& held_;
  double memory_;
  std::size_t ranks_;
};

constexpr int kHalvings = 60;  // of a bound, down to the last bits

/// The smallest bound for which `found` finds something, between one that it may not find and one that it does.
template <class Find>
auto smallest(double below, double above, const Find& found) {
  auto best = found(above);
  for (int i = 0; i < kHalvings && best; ++i) {
    const double middle = below + (above - below) / 2;
    if (auto better = found(middle)) {
      best = std::move(better);
      above = middle;
    } else {
      below = middle;
    }
  }
  return std::pair(best, above);
}

std::optional<Begins> cut(const PartitionProblem& problem, const Stretches& units,
                          const std::vector<int>& held, double memory) {
  if (problem.kind != PipelineKind::zero_bubble_v) return cut_chain(units, held, memory);
  const VCuts cuts(units, held, memory);
  double most = 0;
  for (int unit = 0; unit < units.count(); ++unit) most += units.time(unit, unit + 1);
  return smallest(0, most, [&](double bound) { return cuts.within(bound); }).first;
}

void check(const PartitionProblem& problem, int stages) {
  const auto count = static_cast<int>(problem.units.size());
  if (count < stages)
    throw ConfigError(
        fmt::format("{} units cannot be cut into the {} stages of {} pipeline ranks ({}): take fewer ranks, "
                    "or give smaller units",
                    count, stages, problem.shape.ranks, to_string(problem.kind)));
  for (const PipelineSkip& skip : problem.skips)
    if (skip.from < 0 || skip.to >= count || skip.from >= skip.to)
      throw ConfigError(
          fmt::format("the skip from unit {} to unit {} leads nowhere: it has to go on, within {} units",
                      skip.from, skip.to, count));
  if (!(problem.bandwidth > 0))
    throw ConfigError("bandwidth", fmt::format("{}", problem.bandwidth), "above 0");
}

[[noreturn]] void refuse_memory(const PartitionProblem& problem, const Stretches& units,
                                const std::vector<int>& held) {
  const double all = 2 * units.bytes(0, units.count(), *std::ranges::max_element(held));
  const double needed = smallest(problem.memory_bytes, all, [&](double memory) {
                          return cut(problem, units, held, memory);
                        }).second;
  throw ConfigError(fmt::format(
      "{} pipeline ranks need {:.3g} GB each with {} and {} microbatches, and have {:.3g} GB: take "
      "more ranks, fewer microbatches at a time, or checkpoint activations",
      problem.shape.ranks, needed / 1e9, to_string(problem.kind), problem.shape.microbatches,
      problem.memory_bytes / 1e9));
}

}  // namespace

double PipelinePartition::slowest() const noexcept { return *std::ranges::max_element(rank_times); }

PipelinePartition partition(const PartitionProblem& problem) {
  const std::vector<int> held = most_held(problem.kind, problem.shape);
  check(problem, static_cast<int>(held.size()));
  const Stretches units(problem);
  auto begins = cut(problem, units, held, problem.memory_bytes);
  if (!begins) refuse_memory(problem, units, held);
  const auto ranks = static_cast<std::size_t>(problem.shape.ranks);
  PipelinePartition found{.begins = std::move(*begins), .costs = {}, .rank_times = {}, .rank_bytes = {}};
  found.rank_times.resize(ranks, 0);
  found.rank_bytes.resize(ranks, 0);
  const PipelineSchedule schedule = make_schedule(problem.kind, problem.shape);
  for (std::size_t stage = 0; stage < held.size(); ++stage) {
    const int begin = found.begins[stage], end = found.begins[stage + 1];
    const auto rank = static_cast<std::size_t>(schedule.rank_of(static_cast<int>(stage)));
    found.costs.stages.push_back(units.costs(begin, end));
    found.rank_times[rank] += units.time(begin, end);
    found.rank_bytes[rank] += units.bytes(begin, end, held[stage]);
  }
  return found;
}
}  // namespace bunchtrain::parallel
