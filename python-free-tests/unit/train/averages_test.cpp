// SPDX-License-Identifier: Apache-2.0
// Averaged weights of a run: validated, saved, resumed, applied.
#include "averages.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/train/detail/averaged_weights.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::test {
namespace {

using testing::HasSubstr;
using train::FitResult;

class AveragesTest : public TrainerFixture {
 protected:
  static constexpr std::int64_t kSteps = 21;
  const data::DatasetPtr points_ = make_points(200), others_ = make_points(96, 2);

  const NamedTensors averages_of(const std::string& run, const std::string& component = "ema") const {
    return checkpoint::read_snapshot(snapshot(run, kSteps)).components.at(component).tensors;
  }
  static void expect_equal(const NamedTensors& found, const NamedTensors& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [name, tensor] : expected) EXPECT_TRUE(found[name].equal(tensor)) << name;
  }
};

TEST_F(AveragesTest, FollowTheWeightsStepByStepAndDoNotChangeTheTraining) {
  ToyTraining plain = make("plain");
  plain.trainer.fit(points_, others_);
  ToyTraining averaged = make("averaged", {"--ema", "0.75"});
  at::Tensor expected = averaged.network->first->weight.detach().clone();
  averaged.trainer.add_callback(std::make_shared<AfterStep>([&](const train::StepEvent&) {
    expected = 0.75 * expected + 0.25 * averaged.network->first->weight.detach();
  }));
  averaged.trainer.fit(points_, others_);
  EXPECT_EQ(averaged.weights(), plain.weights());
  const NamedTensors averages = averages_of("averaged");
  EXPECT_EQ(averages.size(), averaged.network->parameters().size());
  EXPECT_LE((averages["average.first.weight"] - expected).abs().max().item<double>(), 1e-14);
  EXPECT_FALSE(checkpoint::read_snapshot(snapshot("plain", kSteps)).components.contains("ema"));
  const auto json = nlohmann::json::parse(read("averaged/run.json"));
  EXPECT_THAT(json["summary"]["Averaged weights"].get<std::string>(), HasSubstr("decay 0.75"));
}

TEST_F(AveragesTest, AreWhatIsValidated) {
  ToyTraining training = make("run", {"--ema", "0.9"});
  const FitResult result = training.trainer.fit(points_, others_);
  const checkpoint::Store store(root_ / "run" / "checkpoints", training.session.agreement());
  const auto saved = store.load("latest", {"model"});
  const NamedTensors& weights = saved->components.at("model").tensors;
  const auto loss_with = [&](const NamedTensors& tensors) {
    Network network;
    weights::load_into(*network, tensors, "snapshot");
    network->eval();
    const at::NoGradGuard no_gradients;
    data::DataLoader loader(others_, {.global_batch = others_->size(), .shuffle = false});
    return loss_of(network, *loader.next()).item<double>();
  };
  EXPECT_NEAR(*result.validation->loss, loss_with(train::averaged_weights(store, saved->info, weights)),
              1e-12);
  EXPECT_GT(std::abs(*result.validation->loss - loss_with(weights)), 1e-4);
  EXPECT_THROW(train::averaged_weights(store, saved->info, weights, "generator"), CheckpointError);
  NamedTensors fewer;
  for (const auto& [name, tensor] : weights)
    if (name != "second.bias") fewer.set(name, tensor);
  EXPECT_THROW(train::averaged_weights(store, saved->info, fewer), CheckpointError);
}

TEST_F(AveragesTest, ResumeToTheBit) {
  ToyTraining undisturbed = make("undisturbed", {"--ema", "0.75"});
  undisturbed.trainer.fit(points_, others_);
  for (const std::int64_t stop_after : {2, 7, 12}) {
    const std::string run = "stopped" + std::to_string(stop_after);
    ToyTraining first = make(run, {"--ema", "0.75"});
    first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, stop_after));
    EXPECT_THROW(first.trainer.fit(points_, others_), train::Interrupted);
    first.session.close();
    ToyTraining second = make(run, {"--ema", "0.75", "--resume"});
    second.trainer.fit(points_, others_);
    EXPECT_EQ(second.weights(), undisturbed.weights()) << run;
    expect_equal(averages_of(run), averages_of("undisturbed"));
  }
}

TEST_F(AveragesTest, BeginAtTheWeightsOfASnapshotWithoutThem) {
  ToyTraining first = make("run");
  first.trainer.add_callback(std::make_shared<LossRecorder>(&first.session, 5));
  EXPECT_THROW(first.trainer.fit(points_, nullptr), train::Interrupted);
  first.session.close();
  EXPECT_THROW(make("run", {"--ema", "0.5", "--resume"}).trainer.fit(points_, nullptr), ConfigError);
  ToyTraining second = make("run", {"--ema", "0.5", "--resume", "--allow-changed"});
  at::Tensor expected =
      checkpoint::read_snapshot(snapshot("run", 6)).components.at("model").tensors["first.weight"];
  second.trainer.add_callback(std::make_shared<AfterStep>([&](const train::StepEvent&) {
    expected = 0.5 * expected + 0.5 * second.network->first->weight.detach();
  }));
  second.trainer.fit(points_, nullptr);
  EXPECT_LE((averages_of("run")["average.first.weight"] - expected).abs().max().item<double>(), 1e-14);
}

TEST_F(AveragesTest, SeveralNetworksHaveTheirOwnOncePerStep) {
  ToyTraining a = make("manual", {"--ema", "0.5"});
  Network other(5);
  parallel::DataParallel parallel(other, a.session.world());
  optim::AdamW optimizer(parallel, {.learning_rate = 0.05});
  const train::ManualStep step = [&](const Batch& batch) -> std::vector<train::LossTerm> {
    const at::Tensor loss = loss_of(other, batch);
    parallel.backward(loss, {.samples = batch.size(), .global_samples = batch.global_size()});
    optimizer.step();
    optimizer.step();
    return {{"loss", loss.item<double>() * static_cast<double>(batch.size())}};
  };
  at::Tensor expected = other->second->bias.detach().clone();
  train::Trainer trainer(a.session, {{"first", &a.parallel, &a.optimizer}, {"other", &parallel, &optimizer}},
                         step, nullptr, {.epochs = 3, .batch = 32});
  trainer.add_callback(std::make_shared<AfterStep>(
      [&](const train::StepEvent&) { expected = 0.5 * expected + 0.5 * other->second->bias.detach(); }));
  trainer.fit(points_, nullptr);
  EXPECT_LE((averages_of("manual", "other-ema")["average.second.bias"] - expected).abs().max().item<double>(),
            1e-14);
  EXPECT_TRUE(averages_of("manual", "first-ema")["average.second.bias"].equal(a.network->second->bias));
}

TEST_F(AveragesTest, ADecayIsBelowOne) {
  for (const char* wrong : {"--ema=1", "--ema=-0.5"}) {
    try {
      make("wrong", {wrong}).trainer.fit(points_, nullptr);
      ADD_FAILURE() << "accepted: " << wrong;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("ema"), HasSubstr("a decay below 1")));
    }
  }
}

}  // namespace
}  // namespace bunchtrain::test
