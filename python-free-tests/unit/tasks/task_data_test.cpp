// SPDX-License-Identifier: Apache-2.0
// Data that a task's networks cannot take are refused before anything is built.
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "../../support/flags.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "bunchtrain/features/card.hpp"
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
