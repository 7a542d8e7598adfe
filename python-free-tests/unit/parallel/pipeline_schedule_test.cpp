// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/pipeline_schedule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/pipeline_simulation.hpp"

namespace bunchtrain::parallel {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

std::string refusal_of(std::string_view text) {
  return refusal([&] { parse_schedule(text, "mine.csv"); });
}

PipelineCosts same_costs(int stages, const StageCosts& stage) {
  return {.stages = std::vector<StageCosts>(static_cast<std::size_t>(stages), stage)};
}

struct Case {
  PipelineKind kind;
  int stages_per_rank;
};

/// Every kind for 1 to 8 ranks and as many, twice and four times as many microbatches.
void for_all_shapes(const std::function<void(PipelineKind, const PipelineShape&)>& look) {
  for (const auto& [kind, stages] :
       {Case{PipelineKind::gpipe, 1}, Case{PipelineKind::one_f_one_b, 1}, Case{PipelineKind::interleaved, 2},
        Case{PipelineKind::interleaved, 3}, Case{PipelineKind::zero_bubble_h1, 1},
        Case{PipelineKind::zero_bubble_v, 2}})
    for (const int ranks : {1, 2, 3, 4, 8})
      for (const int rounds : {1, 2, 4}) {
        SCOPED_TRACE(std::string(to_string(kind)) + ", " + std::to_string(ranks) + " ranks, " +
                     std::to_string(rounds * ranks) + " microbatches");
        look(kind, {.ranks = ranks, .microbatches = rounds * ranks, .stages_per_rank = stages});
      }
}

TEST(PipelineScheduleTest, EveryKindDoesEverythingOnceAndBlocksNobody) {
  for_all_shapes([](PipelineKind kind, const PipelineShape& shape) {
    const auto schedule = make_schedule(kind, shape);
    EXPECT_NO_THROW(schedule.validate());
    EXPECT_NO_THROW(simulate(schedule));
  });
}

TEST(PipelineScheduleTest, FewerMicrobatchesThanRanksAndOneAlone) {
  for (const auto kind : {PipelineKind::gpipe, PipelineKind::one_f_one_b, PipelineKind::zero_bubble_h1,
                          PipelineKind::zero_bubble_v})
    for (const int microbatches : {1, 2, 3}) {
      const int stages = kind == PipelineKind::zero_bubble_v ? 2 : 1;
      EXPECT_NO_THROW(simulate(
          make_schedule(kind, {.ranks = 4, .microbatches = microbatches, .stages_per_rank = stages})));
    }
}

// The table of the kinds, for unequal and equal times.
TEST(PipelineScheduleTest, BubblesAreThoseOfTheory) {
  for_all_shapes([](PipelineKind kind, const PipelineShape& shape) {
    const double p = shape.ranks, v = shape.stages_per_rank;
    for (const StageCosts& costs :
         {StageCosts{}, StageCosts{.forward = 2, .input_gradient = 3, .weight_gradient = 2}}) {
      const double forward = v * costs.forward, backward = v * costs.backward();  // of a rank's share
      double bubble = (p - 1) * (forward + backward);
      if (kind == PipelineKind::interleaved) bubble /= v;
      if (kind == PipelineKind::zero_bubble_h1)
        bubble = (p - 1) * (costs.forward + costs.input_gradient - costs.weight_gradient);
      if (kind == PipelineKind::zero_bubble_v) {
        if (costs.forward != costs.input_gradient || shape.microbatches < 2 * shape.ranks - 1) continue;
        bubble = 0;
      }
      const auto cost = same_costs(shape.ranks * shape.stages_per_rank, costs);
      EXPECT_NEAR(simulate(make_schedule(kind, shape, cost), cost).largest_bubble(), bubble, 1e-9);
    }
  });
}

TEST(PipelineScheduleTest, ActivationsStayWithinWhatTheKindSays) {
  for_all_shapes([](PipelineKind kind, const PipelineShape& shape) {
    const double peak = simulate(make_schedule(kind, shape)).peak_activation_bytes();
    const int p = shape.ranks, v = shape.stages_per_rank;
    if (kind == PipelineKind::gpipe) {
      EXPECT_EQ(peak, shape.microbatches);
    } else if (kind == PipelineKind::interleaved) {
      EXPECT_LE(peak, p * v + p - 1);
    } else {
      EXPECT_LE(peak, p * v);
    }
  });
}

TEST(PipelineScheduleTest, WeightGradientsFillTheGapsThatMeasuredTimesLeave) {
  constexpr int kStages = 8;
  PipelineCosts costs{.transfer = 0.2};
  for (int stage = 0; stage < kStages; ++stage)
    costs.stages.push_back(
        {.forward = 1 + 0.3 * (stage % 3), .input_gradient = 1.4, .weight_gradient = 0.7 + 0.1 * stage});
  const PipelineShape shape{.ranks = 4, .microbatches = 16, .stages_per_rank = 2};
  const auto blind = simulate(make_schedule(PipelineKind::zero_bubble_v, shape), costs);
  const auto measured = simulate(make_schedule(PipelineKind::zero_bubble_v, shape, costs), costs);
  EXPECT_LE(measured.duration, blind.duration);
  double busiest = 0;
  for (const auto& rank : measured.ranks) busiest = std::max(busiest, rank.busy);
  EXPECT_LT(measured.duration, 1.15 * busiest);
  EXPECT_LE(measured.peak_activation_bytes(), 8);
}

TEST(PipelineScheduleTest, SimulatedActionsFollowWhatTheyNeed) {
  const PipelineCosts costs{.stages = {{.forward = 1}, {.forward = 2}}, .transfer = 0.5};
  const auto simulation = simulate(parse_schedule("0F0,0B0\n1F0,1B0\n", "two"), costs);
  EXPECT_EQ(simulation.ranks[1].events[0].begin, 1.5);
  EXPECT_EQ(simulation.ranks[1].events[1].end, 5.5);  // both gradients take 2
  EXPECT_EQ(simulation.ranks[0].events[1].begin, 6);
  EXPECT_EQ(simulation.duration, 8);
  EXPECT_EQ(simulation.ranks[0].busy, 3);
  EXPECT_EQ(simulation.ranks[0].bubble(), 5);
}

TEST(PipelineScheduleTest, TextGoesBothWays) {
  for_all_shapes([](PipelineKind kind, const PipelineShape& shape) {
    const auto schedule = make_schedule(kind, shape);
    const auto again = parse_schedule(to_text(schedule), "again");
    EXPECT_EQ(again.ranks, schedule.ranks);
    EXPECT_EQ(again.stages, schedule.stages);
    EXPECT_EQ(again.microbatches, schedule.microbatches);
  });
  EXPECT_EQ(to_text(make_schedule(PipelineKind::one_f_one_b, {.ranks = 2, .microbatches = 2})),
            "# 1f1b: 2 stages, 2 microbatches\n0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n");
  EXPECT_EQ(parse_schedule("# by hand\n\n 0F0, ,0I0 ,\t0W0\r\n", "hand").ranks.front().size(), 3U);
  for (const auto kind : {PipelineKind::gpipe, PipelineKind::one_f_one_b, PipelineKind::interleaved,
                          PipelineKind::zero_bubble_h1, PipelineKind::zero_bubble_v})
    EXPECT_EQ(parse_pipeline_kind(to_string(kind)), kind);
}

TEST(PipelineScheduleTest, TextsThatAreWrongAreNamed) {
  EXPECT_THAT(refusal_of("0F0,0X0\n"),
              AllOf(HasSubstr("mine.csv, line 1, cell 2: '0X0' is no action"), HasSubstr("as in 2F0")));
  for (const char* word : {"F0", "0F", "0F0x", "-1F0", "-", "0F99999999999"})
    EXPECT_THAT(refusal_of(word), HasSubstr("is no action"));
  EXPECT_THAT(refusal_of("0F0,0F0,0B0\n"),
              HasSubstr("rank 0: stage 0 forward of microbatch 0 is done twice"));
  EXPECT_THAT(refusal_of("0F0,0B0,0W0\n"), HasSubstr("weight gradient of microbatch 0 is done twice"));
  EXPECT_THAT(refusal_of("0B0,0F0\n"), HasSubstr("backward of microbatch 0 comes before its forward"));
  EXPECT_THAT(refusal_of("0F0,0W0,0I0\n"), HasSubstr("comes before its input gradient"));
  EXPECT_THAT(refusal_of("0F0,0I0\n"), HasSubstr("stage 0 weight gradient of microbatch 0 is missing"));
  EXPECT_THAT(refusal_of("0F0,0B0\n2F0,2B0\n"), HasSubstr("stage 1 forward of microbatch 0 is missing"));
  EXPECT_THAT(refusal_of("0F0\n0B0\n"), HasSubstr("is of a stage that rank 0 has"));
  EXPECT_THAT(refusal_of("0F0,0B0,0F1999999999\n"),
              HasSubstr("3 actions are too few for 1 stages and 2000000000"));
  EXPECT_THAT(refusal_of("# nothing\n"), HasSubstr("has nothing to do"));
}

TEST(PipelineScheduleTest, RanksThatWaitForEachOtherAreNamed) {
  const auto schedule = parse_schedule("0F0,0B0,0F1,0B1\n1F1,1B1,1F0,1B0\n", "crossed");
  EXPECT_THAT(refusal([&] { simulate(schedule); }),
              AllOf(HasSubstr("schedule crossed: ranks wait for each other for ever"),
                    HasSubstr("rank 0 before stage 0 backward of microbatch 0"),
                    HasSubstr("rank 1 before stage 1 forward of microbatch 1")));
}

TEST(PipelineScheduleTest, ShapesThatAKindCannotServeAreRefused) {
  EXPECT_THAT(refusal([] {
                make_schedule(PipelineKind::interleaved,
                              {.ranks = 4, .microbatches = 6, .stages_per_rank = 2});
              }),
              HasSubstr("a multiple of the 4 ranks with interleaved"));
  EXPECT_THAT(refusal([] { make_schedule(PipelineKind::zero_bubble_v, {.ranks = 2, .microbatches = 4}); }),
              HasSubstr("2 with zb-v"));
  EXPECT_THAT(refusal([] {
                make_schedule(PipelineKind::gpipe, {.ranks = 2, .microbatches = 4, .stages_per_rank = 2});
              }),
              HasSubstr("1 with gpipe"));
  EXPECT_THAT(refusal([] { make_schedule(PipelineKind::gpipe, {.ranks = 2, .microbatches = 0}); }),
              HasSubstr("microbatches"));
  EXPECT_THAT(refusal([] { make_schedule(PipelineKind::gpipe, {.ranks = 0}); }), HasSubstr("pipeline ranks"));
  EXPECT_THAT(refusal([] { simulate(make_schedule(PipelineKind::gpipe, {.ranks = 2}), same_costs(3, {})); }),
              HasSubstr("one for each of the 2 stages"));
  EXPECT_THAT(refusal([] { parse_pipeline_kind("1f2b"); }),
              HasSubstr("gpipe, 1f1b, interleaved, zb-h1, zb-v"));
}

}  // namespace
}  // namespace bunchtrain::parallel
