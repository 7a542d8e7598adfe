// SPDX-License-Identifier: Apache-2.0
// Steps that are taken down and repeated, by a graph of the host: what a replay does not do is done around it.
#include "captured_steps.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <type_traits>

#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/ema.hpp"
#include "bunchtrain/optim/ranger.hpp"
#include "bunchtrain/optim/torch_optimizer.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/train/objectives.hpp"
#include "step_number.hpp"
#include "support/host_reads.hpp"
#include "support/message_of.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Does its work again in every replay, as a GPU does the work of kernels: the host must not be asked meanwhile.
class HostGraph : public device::StepGraph {
 public:
  explicit HostGraph(int& captures) : captures_(captures) {}
  void capture(const std::function<void()>& work) override {
    ++captures_;
    work_ = work;
  }
  void replay() override {
    const test::HostReads reads;
    work_();
    EXPECT_THAT(reads.names(), testing::IsEmpty());
  }

 private:
  int& captures_;
  std::function<void()> work_;
};

class KeptLines : public LogSink {
 public:
  void write(LogLevel level, std::string_view text) override {
    lines.push_back(std::string(to_string(level)) + ": " + std::string(text));
  }
  std::vector<std::string> lines;
};

models::ParticleNetOptions tiny() {
  models::ParticleNetOptions options;
  options.num_features = 3;
  options.blocks = {{.k = 3, .channels = {8, 8, 8}}, {.k = 3, .channels = {8, 8, 8}}};
  options.hidden = 8;
  options.dropout = 0.5;
  return options;
}

/// Ids go on, so that dropout has other numbers in every step.
Batch batch_of(std::int64_t samples, std::int64_t first_id) {
  Batch batch;
  batch.tensors = {{"points", at::rand({samples, 6, 2})},
                   {"features", at::rand({samples, 6, 3})},
                   {"mask", at::ones({samples, 6}, at::kBool)},
                   {"label", at::arange(samples).remainder(2)}};
  batch.sample_ids = at::arange(first_id, first_id + samples);
  batch.global_samples = samples;
  return batch;
}

/// A training, whose steps go through `captured` first.
template <class Optimizer>
struct Side {
  explicit Side(CapturedSteps steps)
      : engine(net, comm::Communicator::self()),
        optimizer(engine),
        average(engine.arenas(), 0.9),
        captured(std::move(steps)) {
    net->train();
  }

  double step(const Batch& batch, double gradient_scale = 1) {
    optimizer.set_learning_rate(1e-2 / static_cast<double>(1 + number));
    number_in_memory.write(number);
    const optim::StepOptions update{
        .clip_norm = 0.5, .gradient_scale = gradient_scale, .check_finite = true, .average = &average};
    const auto result = captured.run({.network = network,
                                      .objective = objective,
                                      .batch = batch,
                                      .update = update,
                                      .seed = 5,
                                      .number = number,
                                      .number_in_memory = number_in_memory.tensor()});
    if (result) {
      report = optimizer.conclude();
      ++number;
      return result->losses.total.template item<double>();
    }
    const nn::StepContext context(5, number++, batch.sample_ids, number_in_memory.tensor());
    const auto eager =
        engine.run({.batch = batch, .objective = objective, .global_samples = batch.global_size()});
    engine.finish();
    report = optimizer.step(update);
    return eager.losses.total.template item<double>();
  }

  models::ParticleNet net{tiny()};
  parallel::DataParallel engine;
  Optimizer optimizer;
  optim::Ema average;
  TrainedNetwork network{"net", &engine, &optimizer};
  CapturedSteps captured;
  StepNumber number_in_memory{c10::kCPU};
  nn::Objective objective = classification();
  std::int64_t number = 0;
  optim::StepReport report;
};

CapturedSteps eager() { return {CudaGraph::off, {}, {}}; }

template <class Optimizer>
void expect_same_bits() {
  int captures = 0;
  Side<Optimizer> repeated({CudaGraph::on, [&] { return std::make_unique<HostGraph>(captures); }, {}}),
      expected(eager());
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
  EXPECT_EQ(captures, 2);
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
    static int captures = 0;
    return std::make_unique<HostGraph>(captures);
  };
}

TEST(CapturedStepsTest, SaysOnceWhyStepsStayEager) {
  class Refusing : public device::StepGraph {
   public:
    void capture(const std::function<void()>&) override { throw std::runtime_error("the host waits"); }
    void replay() override {}
  };
  EXPECT_THAT(lines_of(CudaGraph::on, [] { return std::make_unique<Refusing>(); }),
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

TEST(CapturedStepsTest, TheUserIsTold) {
  EXPECT_EQ(parse_cuda_graph("auto"), CudaGraph::automatic);
  EXPECT_EQ(to_string(parse_cuda_graph("off")), "off");
  EXPECT_THAT(test::message_of<ConfigError>([] { parse_cuda_graph("maybe"); }), HasSubstr("auto, on, off"));
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
