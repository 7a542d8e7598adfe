// SPDX-License-Identifier: Apache-2.0
// Steps that are taken down and repeated, by a graph of the host: what a replay does not do is done around it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>

#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/ranger.hpp"
#include "bunchtrain/optim/torch_optimizer.hpp"
#include "support/captured_training.hpp"
#include "support/message_of.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using test::batch_of;
using test::eager_steps;
using test::GraphCounts;
using test::HostGraph;
using test::KeptLines;

template <class Optimizer>
using Side = test::CapturedTraining<Optimizer>;

template <class Optimizer>
void expect_same_bits() {
  GraphCounts graphs;
  Side<Optimizer> repeated({CudaGraph::on, [&] { return std::make_unique<HostGraph>(graphs); }, {}}),
      expected(eager_steps());
  for (std::int64_t step = 0; step < 24; ++step) {
    const Batch batch = batch_of(step % 3 == 2 ? 5 : 8, 100 * step);  // an odd one in three
    const double scale = step == 20 ? std::nan("") : 1;               // left out
    EXPECT_EQ(repeated.step(batch, scale), expected.step(batch, scale)) << step;
    EXPECT_EQ(repeated.report.applied(), step != 20);
    if (step != 20) {
      EXPECT_EQ(repeated.report.gradient_norm(), expected.report.gradient_norm()) << step;
    }
    EXPECT_TRUE(repeated.engine.arenas()[0].values().equal(expected.engine.arenas()[0].values())) << step;
    EXPECT_TRUE(repeated.average.averages()[0].equal(expected.average.averages()[0])) << step;
  }
  EXPECT_EQ(graphs.captures, 2);
  EXPECT_EQ(repeated.optimizer.steps(), expected.optimizer.steps());
  for (const auto& buffer : expected.net->named_buffers())
    EXPECT_TRUE(repeated.net->named_buffers()[buffer.key()].equal(buffer.value())) << buffer.key();
}

TEST(CapturedStepsTest, RepeatedStepsHaveTheBitsOfEagerOnes) {
  expect_same_bits<optim::AdamW>();
  expect_same_bits<optim::Ranger>();
}

struct PlainAdam : optim::TorchOptimizer {
  explicit PlainAdam(tensor::ParameterArenas& arenas) : TorchOptimizer(arenas, optim::AdamWOptions{}) {}
};

/// Steps of eight samples until something is said.
template <class Optimizer = optim::AdamW>
std::vector<std::string> lines_of(
    CudaGraph wish, CapturedSteps::CreateGraph create,
    const std::type_identity_t<std::function<void(Side<Optimizer>&, Batch&)>>& change = {}) {
  const auto sink = std::make_shared<KeptLines>();
  Side<Optimizer> side({wish, std::move(create), Logger(sink)});
  for (int step = 0; step < 20; ++step) {
    Batch batch = batch_of(8, 8 * step);
    if (change) change(side, batch);
    side.step(batch);
  }
  return sink->lines;
}

CapturedSteps::CreateGraph host_graphs() {
  return [] {
    static GraphCounts counts;
    return std::make_unique<HostGraph>(counts);
  };
}

TEST(CapturedStepsTest, SaysOnceWhyStepsStayEager) {
  EXPECT_THAT(lines_of(CudaGraph::on, [] { return std::make_unique<test::RefusingGraph>(); }),
              ElementsAre("warning: steps are not captured in a CUDA graph: the host waits"));
  EXPECT_THAT(lines_of(CudaGraph::on, host_graphs(), [](auto&, Batch& batch) { batch.ragged = {"points"}; }),
              ElementsAre(HasSubstr("batches are ragged")));
  EXPECT_THAT(
      lines_of(CudaGraph::automatic, host_graphs(),
               [](auto& side, Batch&) { side.captured.note_eager(0.001, 0.1); }),
      ElementsAre("info: steps are not captured in a CUDA graph: the host enqueues a step in 1.0 ms, the GPU "
                  "takes 100.0 ms"));
  EXPECT_THAT(lines_of<PlainAdam>(CudaGraph::on, host_graphs()),
              ElementsAre(HasSubstr("not one of the fused ones")));
  EXPECT_THAT(lines_of(CudaGraph::automatic, {}), testing::IsEmpty()) << "a CPU";
}

TEST(CapturedStepsTest, AutomaticTakesNetworksThatAllowItWhereLaunchesBind) {
  EXPECT_THAT(lines_of(CudaGraph::automatic, host_graphs(),
                       [](auto& side, Batch&) { side.captured.note_eager(0.01, 0.011); }),
              ElementsAre("info: steps of 8 samples are captured in a CUDA graph"));
  EXPECT_THAT(lines_of(CudaGraph::automatic, host_graphs()), testing::IsEmpty()) << "nothing is known yet";
}

TEST(CapturedStepsTest, ManyShapesStayEager) {
  std::int64_t samples = 2;
  EXPECT_THAT(lines_of(CudaGraph::on, host_graphs(),
                       [&](auto&, Batch& batch) { batch = batch_of(samples++ % 10 + 2, 0); }),
              testing::IsEmpty());
}

class CudaGraphChoiceTest : public test::TrainerFixture {};

TEST_F(CudaGraphChoiceTest, OnNeedsAGpu) {
  if (test::ToyTraining training = make("run", {"--cuda-graph", "on"}); training.session.device().is_cpu()) {
    EXPECT_THAT(test::message_of<ConfigError>(
                    [&] { training.trainer.fit(test::make_points(64), test::make_points(32, 2)); }),
                testing::AllOf(HasSubstr("cuda-graph"), HasSubstr("auto or off on a CPU")));
  }
}

}  // namespace
}  // namespace bunchtrain::train
