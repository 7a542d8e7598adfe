// SPDX-License-Identifier: Apache-2.0
// A training along the pipeline axis of a mesh: the same run as on one rank, resumed in any layout.
#include <gtest/gtest.h>
#include <unistd.h>

#include "../../support/toy_training.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "bunchtrain/nn/unit.hpp"
#include "bunchtrain/parallel/pipeline_parallel.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "bunchtrain/weights/bundle.hpp"

namespace bunchtrain::train {
namespace {

using test::LossRecorder;
using test::make_points;

constexpr int kMicrobatches = 4;

const mpi::Comm& world() {
  static const mpi::Environment environment;
  return environment.world();
}

/// The toy network in five units, with a skip.
struct StagedImpl : torch::nn::Module, nn::UnitModel {
  StagedImpl() {
    for (int i = 0; i < 3; ++i)
      layers.push_back(register_module("layer" + std::to_string(i), torch::nn::Linear(i == 0 ? 4 : 8, 8)));
    norm = register_module("norm", nn::BatchNorm(nn::BatchNormOptions{.channels = 8}));
    head = register_module("head", torch::nn::Linear(8, 2));
    to(at::kDouble);
    const at::NoGradGuard no_gradients;
    const CounterRandom random(3, 1);
    std::uint64_t position = 0;
    for (at::Tensor& parameter : parameters())
      for (double& value : std::span(parameter.mutable_data_ptr<double>(), parameter.numel()))
        value = random.uniform(position++) - 0.5;
  }
  std::vector<std::string> input_names() const override { return {"x"}; }
  std::vector<std::string> output_names() const override { return {"logits"}; }
  std::vector<nn::Unit> units() override {
    return {
        nn::unit("layer0", layers[0], "x", "a"),
        {.name = "norm",
         .module = norm.ptr(),
         .reads = {"a"},
         .writes = {"b"},
         .forward = [this](const auto& in) { return std::vector{norm->forward(in[0], std::nullopt, true)}; }},
        nn::unit("layer1", layers[1], "b", "c"),
        {.name = "layer2",
         .module = layers[2].ptr(),
         .reads = {"c", "a"},
         .writes = {"d"},
         .forward =
             [this](const auto& in) { return std::vector{(layers[2]->forward(in[0]) + in[1]).tanh()}; }},
        nn::unit("head", head, "d", "logits")};
  }

  std::vector<torch::nn::Linear> layers;
  nn::BatchNorm norm{nullptr};
  torch::nn::Linear head{nullptr};
};
TORCH_MODULE(Staged);

struct PipelineTraining {
  Session session;
  Staged network;
  parallel::PipelineParallel pipeline;
  optim::AdamW optimizer;
  Trainer trainer;
  std::shared_ptr<LossRecorder> losses;

  PipelineTraining(const mpi::Comm& control, const std::filesystem::path& run,
                   std::vector<std::string> flags = {}, std::int64_t stop_after = -1)
      : session(app::open_session(test::ToyTraining::parse(run, std::move(flags)), control, {},
                                  {comm::Axis::data, comm::Axis::pipeline})),
        pipeline(network, session.mesh(), {.microbatches = kMicrobatches}),
        optimizer(pipeline, {.learning_rate = 0.05}),
        trainer(session, pipeline, optimizer, classification(),
                {.epochs = 3, .batch = 32, .clip_norm = 1.0, .ema = 0.9}),
        losses(std::make_shared<LossRecorder>(stop_after >= 0 ? &session : nullptr, stop_after)) {
    trainer.add_callback(losses);
  }
  FitResult fit() { return trainer.fit(make_points(205), make_points(33, 2)); }
  /// Stops by itself, as after USR1.
  void interrupt() {
    EXPECT_THROW(fit(), Interrupted);
    session.close();
  }
  NamedTensors finish() {
    result = fit();
    NamedTensors weights;
    for (const auto& [name, tensor] : pipeline.gather()) weights.set(name, tensor.clone());
    session.close();
    return weights;
  }
  FitResult result;
};

class TrainerPipelineTest : public ::testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  void clear() {
    world().barrier();
    if (is_root()) std::filesystem::remove_all(root_);
    world().barrier();
  }
  bool is_root() const { return world().rank() == 0; }
  std::vector<std::string> mesh(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"--mesh", "pipeline=" + std::to_string(world().size())});
    return more;
  }
  /// Every rank by itself, in a folder of its own.
  std::filesystem::path own_folder() const { return root_ / ("alone" + std::to_string(world().rank())); }
  NamedTensors alone() {
    PipelineTraining training(mpi::Comm::self(), own_folder());
    NamedTensors weights = training.finish();
    reference_losses_ = training.losses->losses;
    reference_ = training.result;
    return weights;
  }
  static void expect_near(const NamedTensors& found, const NamedTensors& expected) {
    EXPECT_EQ(found.size(), expected.size());
    for (const auto& [name, tensor] : expected)
      EXPECT_LE((found[name].to(at::kDouble) - tensor.to(at::kDouble)).abs().max().item<double>(), 1e-8)
          << name;
  }

  std::vector<double> reference_losses_;
  FitResult reference_;
  const std::filesystem::path root_ = std::filesystem::path(::testing::TempDir()) /
                                      ("trainer_pipeline_" + world().broadcast(std::to_string(getpid())));
};

TEST_F(TrainerPipelineTest, TrainsAsOneRankDoes) {
  const NamedTensors expected = alone();
  PipelineTraining together(world(), root_ / "together", mesh());
  const NamedTensors found = together.finish();
  ASSERT_EQ(together.losses->losses.size(), reference_losses_.size());
  for (std::size_t i = 0; i < reference_losses_.size(); ++i)
    EXPECT_NEAR(together.losses->losses[i], reference_losses_[i], 1e-9) << "step " << i + 1;
  ASSERT_TRUE(together.result.validation && reference_.validation);
  EXPECT_NEAR(*together.result.validation->score, *reference_.validation->score, 1e-9);
  if (!is_root()) return;
  expect_near(found, expected);
  const weights::Bundle ours = weights::read_bundle(root_ / "together" / "bundle");
  expect_near(ours.weights, weights::read_bundle(own_folder() / "bundle").weights);
}

TEST_F(TrainerPipelineTest, AStoppedRunGoesOnInTheSameLayoutToTheBit) {
  PipelineTraining whole(world(), root_ / "whole", mesh());
  const NamedTensors expected = whole.finish();
  PipelineTraining(world(), root_ / "parts", mesh(), 9).interrupt();
  PipelineTraining rest(world(), root_ / "parts", mesh({"--resume"}));
  const NamedTensors found = rest.finish();
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(found[name].equal(tensor)) << name;
}

TEST_F(TrainerPipelineTest, AStoppedRunGoesOnInAnotherLayout) {
  const NamedTensors expected = alone();
  PipelineTraining(world(), root_ / "parts", mesh(), 9).interrupt();
  if (is_root()) {
    PipelineTraining rest(mpi::Comm::self(), root_ / "parts", {"--resume"});
    expect_near(rest.finish(), expected);
    PipelineTraining(mpi::Comm::self(), root_ / "first", {}, 9).interrupt();
  }
  world().barrier();
  PipelineTraining rest(world(), root_ / "first", mesh({"--resume"}));
  const NamedTensors found = rest.finish();
  if (is_root()) expect_near(found, expected);
}

TEST_F(TrainerPipelineTest, ReplicasOfPipelinesGoOnToTheBit) {
  if (world().size() != 4) GTEST_SKIP() << "needs four ranks";
  const std::vector<std::string> both = {"--mesh", "pipeline=2,data=2"};
  PipelineTraining whole(world(), root_ / "whole", both);
  const NamedTensors expected = whole.finish();
  PipelineTraining(world(), root_ / "parts", both, 9).interrupt();
  PipelineTraining rest(world(), root_ / "parts", {"--mesh", "pipeline=2,data=2", "--resume"});
  const NamedTensors found = rest.finish();
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(found[name].equal(tensor)) << name;
}

TEST_F(TrainerPipelineTest, AnEngineThatKnowsNothingOfAnAxisIsRefused) {
  Session session = app::open_session(test::ToyTraining::parse(root_ / "run", mesh()), world(), {},
                                      {comm::Axis::data, comm::Axis::pipeline});
  test::Network network;
  parallel::DataParallel replicas(network, session.mesh().axis(comm::Axis::data));
  optim::AdamW optimizer(replicas);
  Trainer trainer(session, replicas, optimizer, classification(), {.epochs = 1, .batch = 32});
  try {
    trainer.fit(make_points(64), nullptr);
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("does not train along the pipeline axis"), std::string::npos)
        << error.what();
  }
  session.close();
}

}  // namespace
}  // namespace bunchtrain::train
