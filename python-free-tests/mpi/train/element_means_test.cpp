// SPDX-License-Identifier: Apache-2.0
// Losses that are means over the hits of ragged batches: the same on any number of ranks.

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "../../support/toy_training.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::train {
namespace {

using test::LossRecorder;
using test::ToyTraining;
using Counts = std::vector<std::int64_t>;

const mpi::Comm& world() {
  static const mpi::Environment environment;
  return environment.world();
}

/// Events of 0 to 12 hits, most of them small; each hit has 4 columns and a label of its own.
Counts uneven_counts(std::int64_t events) {
  Counts counts;
  for (std::int64_t event = 0; event < events; ++event) counts.push_back(event % 5 == 0 ? 0 : event * 7 % 13);
  return counts;
}

data::DatasetPtr make_events(const Counts& counts, std::uint64_t seed = 1) {
  Counts splits = {0};
  for (const std::int64_t count : counts) splits.push_back(splits.back() + count);
  const data::DatasetPtr points = test::make_points(splits.back(), seed);
  NamedTensors hits;
  hits.set("x", at::empty({0, 4}, at::kDouble));
  hits.set("label", at::empty({0}, at::kLong));
  for (const char* name : {"x", "label"}) {
    std::vector<at::Tensor> parts;
    for (std::size_t range = 0; range < points->ranges().size(); ++range)
      parts.push_back(points->read(range).tensors[name]);
    hits.set(name, at::cat(parts));
  }
  return data::make_ragged_dataset(std::move(hits), {"x", "label"}, at::tensor(splits, at::kLong), 4);
}

/// Rows by themselves: what a hit gives does not depend on the batch that it is in.
struct HitsNetworkImpl : torch::nn::Module, nn::Model {
  HitsNetworkImpl() : layers(register_module("layers", test::Network())) {}
  NamedTensors forward(const NamedTensors& inputs) override {
    return {{"logits", layers->second(layers->first(inputs["x"]).tanh())}};
  }
  std::vector<std::string> input_names() const override { return {"x"}; }
  test::Network layers;
};
TORCH_MODULE(HitsNetwork);

const nn::Objective& over_hits() {
  static const nn::Objective objective = classification({.mean_over = nn::MeanOver::elements});
  return objective;
}

/// Its mean over nothing is NaN, unlike that of `classification`.
nn::Objective plain_mean() {
  return {[](const NamedTensors& outputs, const Batch&) -> nn::Losses {
            return outputs["logits"].square().mean();
          },
          nn::MeanOver::elements};
}

class ElementMeansTest : public ::testing::Test {
 protected:
  void TearDown() override { communicator_.close(); }

  /// One step of a rank's share, in `passes`.
  void step(parallel::DataParallel& engine, const Batch& batch, const nn::Objective& objective,
            std::int64_t passes) {
    for (std::int64_t pass = 0; pass < passes; ++pass) {
      const Batch part =
          slice_samples(batch, batch.size() * pass / passes, batch.size() * (pass + 1) / passes);
      const auto result = engine.run({.batch = part,
                                      .objective = objective,
                                      .global_samples = batch.global_size(),
                                      .first = pass == 0,
                                      .last = pass + 1 == passes});
      EXPECT_EQ(result.samples, part.elements);
    }
    engine.finish();
  }
  data::DataLoader loader(const data::DatasetPtr& events, int rank, int ranks, std::int64_t budget) {
    return {
        events,
        {.global_batch = 8, .global_elements = budget, .rank = rank, .world_size = ranks, .shuffle = false}};
  }
  static at::Tensor gradients(HitsNetwork& network) {
    std::vector<at::Tensor> all;
    for (const auto& parameter : network->parameters())
      all.push_back((parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter)).view({-1}));
    return at::cat(all).clone();
  }
  /// Of every step, on these ranks.
  std::vector<at::Tensor> gradients_of(const data::DatasetPtr& events, const nn::Objective& objective,
                                       comm::Communicator communicator, std::int64_t passes,
                                       std::int64_t budget) {
    HitsNetwork network;
    parallel::DataParallel engine(network, communicator);
    data::DataLoader batches = loader(events, communicator.rank(), communicator.size(), budget);
    std::vector<at::Tensor> found;
    for (const Batch& batch : batches) {
      step(engine, batch, objective, passes);
      found.push_back(gradients(network));
    }
    return found;
  }

  comm::Communicator communicator_ =
      comm::Communicator::create(world(), c10::kCPU, {.timeout = std::chrono::seconds(20), .checked = true});
};

TEST_F(ElementMeansTest, GradientsAreThoseOfOneRankWhateverTheShares) {
  Counts counts = uneven_counts(45);
  for (std::size_t i = 16; i < 24; ++i) counts[i] = 0;  // a whole step without a hit, by samples
  const data::DatasetPtr events = make_events(counts);
  for (const nn::Objective& objective : {over_hits(), plain_mean()})
    for (const std::int64_t budget : {0, 30})
      for (const std::int64_t passes : {1, 3}) {
        const auto by_one = gradients_of(events, objective, comm::Communicator::self(), 1, budget);
        const auto by_all = gradients_of(events, objective, communicator_, passes, budget);
        ASSERT_EQ(by_all.size(), by_one.size());
        for (std::size_t i = 0; i < by_one.size(); ++i) {
          EXPECT_TRUE(by_one[i].isfinite().all().item<bool>());
          EXPECT_LE((by_all[i] - by_one[i]).abs().max().item<double>(), 1e-14)
              << "step " << i << ", " << passes << " passes, budget " << budget;
        }
        if (budget == 0) {
          EXPECT_EQ(by_all[2].abs().sum().item<double>(), 0) << "no hit, no gradient";
        }
      }
}

TEST_F(ElementMeansTest, AGradientIsThatOfTheMeanOverAllHits) {
  const data::DatasetPtr events = make_events(uneven_counts(8));
  const auto found = gradients_of(events, over_hits(), communicator_, 2, 0);
  HitsNetwork network;
  std::vector<at::Tensor> x, label;
  for (std::size_t range = 0; range < events->ranges().size(); ++range) {
    x.push_back(events->read(range).tensors["x"]);
    label.push_back(events->read(range).tensors["label"]);
  }
  Batch all;
  all.tensors = {{"x", at::cat(x)}, {"label", at::cat(label)}};
  classification()(network->forward(all.tensors), all).total.backward();
  EXPECT_LE((found.at(0) - gradients(network)).abs().max().item<double>(), 1e-14);
}

TEST_F(ElementMeansTest, RowsHaveNoElements) {
  test::Network network;
  parallel::DataParallel engine(network, communicator_);
  data::DataLoader rows(test::make_points(64),
                        {.global_batch = 8, .rank = world().rank(), .world_size = world().size()});
  const Batch batch = *rows.next();
  try {
    engine.run({.batch = batch, .objective = over_hits(), .global_samples = batch.global_size()});
    FAIL() << "trained on nothing";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("its dataset is not ragged"));
  }
}

/// A whole training: what it records, and where its weights go.
struct HitsTraining : ToyTraining {
  HitsNetwork hits_network;
  parallel::DataParallel hits_parallel;
  optim::AdamW hits_optimizer;
  Trainer hits_trainer;
  std::shared_ptr<LossRecorder> losses = std::make_shared<LossRecorder>();

  HitsTraining(const mpi::Comm& control, const std::filesystem::path& run, std::int64_t accumulate = 1)
      : ToyTraining(control, run),
        hits_parallel(hits_network, session.world()),
        hits_optimizer(hits_parallel, {.learning_rate = 0.05}),
        hits_trainer(session, hits_parallel, hits_optimizer, over_hits(),
                     {.epochs = 2, .batch = 12, .accumulate = accumulate}) {
    hits_trainer.use_validation(make_classification_validation({.classes = {"a", "b"}}));
    hits_trainer.add_callback(losses);
  }
};

TEST_F(ElementMeansTest, ATrainingRecordsTheSameLossesOnAnyNumberOfRanks) {
  const std::filesystem::path root = std::filesystem::path(::testing::TempDir()) /
                                     ("element_means_" + world().broadcast(std::to_string(getpid())));
  const data::DatasetPtr train = make_events(uneven_counts(70)), valid = make_events(uneven_counts(26), 2);
  HitsTraining alone(mpi::Comm::self(), root / ("alone" + std::to_string(world().rank())));
  const FitResult by_one = alone.hits_trainer.fit(train, valid);
  HitsTraining together(world(), root / "together", 2);
  const FitResult by_all = together.hits_trainer.fit(train, valid);
  ASSERT_EQ(together.losses->losses.size(), alone.losses->losses.size());
  for (std::size_t i = 0; i < alone.losses->losses.size(); ++i)
    EXPECT_NEAR(together.losses->losses[i], alone.losses->losses[i], 1e-12) << "step " << i + 1;
  EXPECT_NEAR(by_all.train_loss, by_one.train_loss, 1e-12) << "of the epoch, by hits";
  EXPECT_NEAR(*by_all.validation->loss, *by_one.validation->loss, 1e-12);
  EXPECT_LT(by_all.train_loss, std::log(2)) << "it learns";
  EXPECT_THROW(together.hits_trainer.fit(test::make_points(64), nullptr), ConfigError);
  for (auto* training : {&alone, &together}) training->session.close();
  world().barrier();
  if (world().rank() == 0) std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace bunchtrain::train
