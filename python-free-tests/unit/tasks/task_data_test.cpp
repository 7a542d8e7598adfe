// SPDX-License-Identifier: Apache-2.0
// Data that a task's networks cannot take are refused before anything is built.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "../../support/flags.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/simulate/toy_jets.hpp"
#include "bunchtrain/tasks/jet_tagging/classifier.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_diffusion.hpp"

namespace bunchtrain {
namespace {

using testing::HasSubstr;

class TaskDataTest : public testing::Test {
 protected:
  TaskDataTest() { std::filesystem::create_directories(folder_); }
  ~TaskDataTest() override { std::filesystem::remove_all(folder_); }
  train::Session open() const {
    return app::open_session(test::parse_flags({"--run", (folder_ / "run").string()}), mpi::Comm::self(), {});
  }
  template <class Call>
  static std::string refusal(Call call) {
    try {
      call();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }
  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("task_data_" + std::to_string(getpid()));
};

TEST_F(TaskDataTest, ATaggerTakesPaddedBatches) {
  const auto jets = folder_ / "jets.h5";
  simulate::write_toy_jets(jets, {.count = 40, .particles = 8});
  features::Card card = features::load_card("toy_jets");
  card.ragged = true;
  std::ofstream(folder_ / "ragged.toml") << features::to_toml(card);
  train::Session session = open();
  EXPECT_THAT(refusal([&] {
                jet_tagging::open_data(session, jet_tagging::JetDataOptions{
                                                    .files = {.data = {jets.string()},
                                                              .card = (folder_ / "ragged.toml").string()}});
              }),
              HasSubstr("the networks of this task take [jets, length, columns]"));
  session.close();
}

/// The same jets, features and outputs of the network, also in training mode.
TEST_F(TaskDataTest, LengthBucketsChangeOrderAndPaddingAlone) {
  constexpr std::int64_t kSlots = 96;
  const auto jets = folder_ / "jets.h5";
  simulate::write_toy_jets(jets, {.count = 400, .particles = kSlots});
  jet_tagging::ClassifierOptions options{
      .data = {.files = {.data = {jets.string()}, .card = "toy_jets"}, .particles = kSlots},
      .dropout = 0,
      .batch_norm_rows = models::BatchNormRows::real};
  train::Session session = open();
  const data::DatasetPtr padded = jet_tagging::open_data(session, options).train;
  options.length_buckets = 8;
  const data::DatasetPtr bucketed = jet_tagging::open_data(session, options).train;
  EXPECT_EQ(*bucketed->card(), *padded->card()) << "with what is fitted to the data";
  EXPECT_EQ(bucketed->size(), padded->size());
  const auto module = jet_tagging::create_classifier(session, options, *bucketed);
  nn::Model& model = *nn::as_model(*module);

  const at::NoGradGuard no_gradients;
  data::DataLoader in_order(padded, {.global_batch = padded->size(), .shuffle = false});
  const Batch all = in_order.next().value();
  data::DataLoader loader(bucketed, {.global_batch = 20, .length_bucket_batches = options.length_buckets});
  std::int64_t shorter = 0;
  for (const Batch& batch : loader) {
    const std::int64_t length = batch["mask"].size(1);
    shorter += length < kSlots ? 1 : 0;
    NamedTensors whole;
    for (const char* name : {"points", "features", "mask", "label"})
      whole.set(name, all[name].index_select(0, batch.sample_ids));
    for (const char* name : {"points", "features", "mask"})
      EXPECT_TRUE(batch[name].equal(whole[name].slice(1, 0, length))) << name;
    EXPECT_FALSE(whole["mask"].slice(1, length).any().item<bool>()) << "no particle is lost";
    EXPECT_TRUE(batch["label"].equal(whole["label"]));
    const at::Tensor expected = model.forward(whole)["logits"];
    EXPECT_TRUE(at::allclose(model.forward(batch.tensors)["logits"], expected, 1e-4, 1e-5)) << length;
  }
  EXPECT_GT(shorter, loader.steps_per_epoch() / 2);
  const auto& found = loader.statistics();
  EXPECT_EQ(found.elements, all["mask"].sum().item<std::int64_t>());
  const double without = static_cast<double>(all["mask"].numel()) / static_cast<double>(found.elements);
  EXPECT_LT(found.padding() - 1, 0.5 * (without - 1));
  session.close();
}

TEST_F(TaskDataTest, ADiffusionTakesGrids) {
  const auto blocks = data::make_memory_dataset({{"image", at::ones({8, 12})}, {"energy", at::ones({8})}},
                                                /*rows_per_range=*/4);
  train::Session session = open();
  EXPECT_THAT(refusal([&] { shower_simulation::create_calo_diffusion(session, {}, *blocks); }),
              HasSubstr("showers on one grid [x, y, z]"));
  session.close();
}

}  // namespace
}  // namespace bunchtrain
