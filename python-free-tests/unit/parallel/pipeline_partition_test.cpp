// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/pipeline_partition.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/pipeline_simulation.hpp"

namespace bunchtrain::parallel {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Units of a U-Net: costs fall and rise again, the way in gives to the way out.
PartitionProblem some_problem(int units, int seed, PipelineKind kind, const PipelineShape& shape) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::uniform_real_distribution<double> number(0.2, 2);
  PartitionProblem problem{.kind = kind, .shape = shape};
  for (int i = 0; i < units; ++i)
    problem.units.push_back({.name = "unit " + std::to_string(i),
                             .costs = {.forward = number(random),
                                       .input_gradient = number(random),
                                       .weight_gradient = number(random),
                                       .activation_bytes = number(random)},
                             .parameter_bytes = number(random),
                             .output_bytes = number(random)});
  for (int i = 0; i < units / 3; ++i)
    problem.skips.push_back({.from = i, .to = units - 1 - i, .bytes = number(random)});
  return problem;
}

double crossing(const PartitionProblem& problem, int cut) {
  if (cut == 0) return 0;
  double bytes = problem.units[static_cast<std::size_t>(cut - 1)].output_bytes;
  for (const PipelineSkip& skip : problem.skips)
    if (skip.from < cut && cut <= skip.to) bytes += skip.bytes;
  return bytes / problem.bandwidth;
}

/// The slowest rank (of a chain: stage) if the cuts are these.
double slowest(const PartitionProblem& problem, const std::vector<int>& begins) {
  std::vector<double> ranks(static_cast<std::size_t>(problem.shape.ranks), 0);
  const bool folded = problem.kind == PipelineKind::zero_bubble_v;
  for (std::size_t stage = 0; stage + 1 < begins.size(); ++stage) {
    double time = 2 * crossing(problem, begins[stage]);
    for (int i = begins[stage]; i < begins[stage + 1]; ++i) {
      const StageCosts& costs = problem.units[static_cast<std::size_t>(i)].costs;
      time += costs.forward + costs.backward();
    }
    ranks[folded ? std::min(stage, 2 * ranks.size() - 1 - stage) : stage] += time;
  }
  return *std::ranges::max_element(ranks);
}

void for_all_cuts(std::vector<int>& begins, std::size_t stages, int units,
                  const std::function<void(const std::vector<int>&)>& look) {
  if (begins.size() == stages) {
    begins.push_back(units);
    look(begins);
    begins.pop_back();
    return;
  }
  for (int next = begins.back() + 1; next < units; ++next) {
    begins.push_back(next);
    for_all_cuts(begins, stages, units, look);
    begins.pop_back();
  }
}

double best_of_all(const PartitionProblem& problem) {
  double best = 1e300;
  std::vector<int> begins = {0};
  for_all_cuts(begins, static_cast<std::size_t>(problem.shape.ranks * problem.shape.stages_per_rank),
               static_cast<int>(problem.units.size()),
               [&](const std::vector<int>& cuts) { best = std::min(best, slowest(problem, cuts)); });
  return best;
}

TEST(PipelinePartitionTest, NoCutsAreBetterThanThoseFound) {
  for (int seed = 0; seed < 40; ++seed)
    for (const double bandwidth : {1e300, 3.0}) {
      for (const int ranks : {1, 2, 3}) {
        auto chain = some_problem(10, seed, PipelineKind::one_f_one_b, {.ranks = ranks, .microbatches = 6});
        chain.bandwidth = bandwidth;
        EXPECT_NEAR(partition(chain).slowest(), best_of_all(chain), 1e-9) << seed << ", " << ranks;
        auto folded = some_problem(10, seed, PipelineKind::zero_bubble_v,
                                   {.ranks = ranks, .microbatches = 6, .stages_per_rank = 2});
        folded.bandwidth = bandwidth;
        const auto found = partition(folded);
        EXPECT_NEAR(found.slowest(), best_of_all(folded), 1e-9) << seed << ", " << ranks;
        EXPECT_NEAR(found.slowest(), slowest(folded, found.begins), 1e-9);
      }
    }
}

TEST(PipelinePartitionTest, StagesAreWholeAndInOrder) {
  const auto problem =
      some_problem(31, 3, PipelineKind::zero_bubble_v, {.ranks = 4, .microbatches = 8, .stages_per_rank = 2});
  const auto found = partition(problem);
  ASSERT_EQ(found.begins.size(), 9U);
  EXPECT_EQ(found.begins.front(), 0);
  EXPECT_EQ(found.begins.back(), 31);
  EXPECT_TRUE(std::ranges::adjacent_find(found.begins, std::greater_equal<>()) == found.begins.end());
  EXPECT_NO_THROW(simulate(make_schedule(problem.kind, problem.shape, found.costs), found.costs));
}

TEST(PipelinePartitionTest, MemoryMovesTheCuts) {
  for (const auto kind : {PipelineKind::one_f_one_b, PipelineKind::zero_bubble_v})
    for (int seed = 0; seed < 10; ++seed) {
      auto problem = some_problem(
          24, seed, kind,
          {.ranks = 4, .microbatches = 8, .stages_per_rank = kind == PipelineKind::one_f_one_b ? 1 : 2});
      const auto roomy = partition(problem);
      const double most = *std::ranges::max_element(roomy.rank_bytes);
      problem.memory_bytes = 0.97 * most;
      try {
        const auto tight = partition(problem);
        EXPECT_LE(*std::ranges::max_element(tight.rank_bytes), problem.memory_bytes);
        EXPECT_GE(tight.slowest(), roomy.slowest() - 1e-9);
      } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(),
                    AllOf(HasSubstr("4 pipeline ranks need"), HasSubstr("checkpoint activations")));
      }
    }
}

TEST(PipelinePartitionTest, HundredsOfUnitsAreCut) {
  const auto problem = some_problem(400, 1, PipelineKind::zero_bubble_v,
                                    {.ranks = 8, .microbatches = 16, .stages_per_rank = 2});
  const auto found = partition(problem);
  double all = 0;
  for (const auto& unit : problem.units) all += unit.costs.forward + unit.costs.backward();
  EXPECT_LT(found.slowest(), 1.05 * all / 8);
}

std::string refusal(const PartitionProblem& problem) {
  try {
    partition(problem);
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

TEST(PipelinePartitionTest, WhatCannotBeCutIsRefused) {
  const auto shape = PipelineShape{.ranks = 4, .microbatches = 8};
  EXPECT_THAT(refusal(some_problem(3, 1, PipelineKind::gpipe, shape)),
              HasSubstr("3 units cannot be cut into the 4 stages"));
  auto skip = some_problem(8, 1, PipelineKind::gpipe, shape);
  skip.skips = {{.from = 5, .to = 2}};
  EXPECT_THAT(refusal(skip), HasSubstr("the skip from unit 5 to unit 2 leads nowhere"));
  auto full = some_problem(8, 1, PipelineKind::gpipe, shape);
  full.memory_bytes = 1;
  EXPECT_THAT(refusal(full), HasSubstr("4 pipeline ranks need"));
  auto slow = some_problem(8, 1, PipelineKind::gpipe, shape);
  slow.bandwidth = 0;
  EXPECT_THAT(refusal(slow), HasSubstr("bandwidth"));
}

}  // namespace
}  // namespace bunchtrain::parallel
