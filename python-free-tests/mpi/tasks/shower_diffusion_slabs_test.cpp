// SPDX-License-Identifier: Apache-2.0
/// Runs of calo-diffusion on slabs, in float64: stopped, resumed as replicas, against one rank.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "bunchtrain/tasks/shower_simulation/shower_diffusion.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "bunchtrain/train/stop_signal.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "shares.hpp"
#include "support/toy_training.hpp"

namespace bunchtrain::shower_simulation {
namespace {

train::SessionOptions asked(const std::filesystem::path& run, const std::string& mesh) {
  return {.device = device::DeviceRequest::cpu,
          .precision = device::Precision::float64,
          .mesh = mesh,
          .axes = {comm::Axis::data, comm::Axis::pipeline, comm::Axis::spatial},
          .run = run,
          .resume = true};
}

class ShowerDiffusionSlabsTest : public ::testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  void clear() {
    test_world().barrier();
    if (test_world().rank() == 0) std::filesystem::remove_all(root_);
    test_world().barrier();
  }

  /// Five showers in batches of two, the last of which leaves replicas without one. Trains to the end, or to a stop after a
  /// step; the weights then.
  at::Tensor trained(const mpi::Comm& ranks, const std::filesystem::path& run, const std::string& mesh,
                     std::int64_t stop_after = -1) {
    train::Session session(asked(run, mesh), ranks, {});
    const ShowerDiffusionOptions options{.files = {.valid_fraction = 0.2}, .showers = 6, .channels = {8, 8}};
    const auto [showers, kept] = open_physical_showers(session, options);
    models::CaloDiffusion network = create_calo_diffusion(session, options, *showers);
    const auto engine = create_diffusion_engine(session, options, network);
    const auto optimizer = train::create_optimizer(session, *engine);
    train::Trainer trainer(session, *engine, *optimizer, diffusion_objective(),
                           {.max_steps = 4, .batch = 2, .samples = "showers"});
    trainer.use_validation(nullptr);
    trainer.add_callback(std::make_shared<test::LossRecorder>(&session, stop_after));
    if (stop_after > 0) {
      EXPECT_THROW(trainer.fit(showers, kept), train::Interrupted);
    } else {
      trainer.fit(showers, kept);
    }
    const at::Tensor weights = engine->arenas()[0].values().detach().clone();
    session.close();
    return weights;
  }

  const std::filesystem::path root_ = std::filesystem::path(::testing::TempDir()) /
                                      ("diffusion_slabs_" + test_world().broadcast(std::to_string(getpid())));
};

TEST_F(ShowerDiffusionSlabsTest, ARunGoesOnInAnotherLayout) {
  const int world = test_world().size();
  if (world != 1 && world != 2 && world != 4) return;  // batches of two are no replicas of three
  const auto run = root_ / "slabs";
  trained(test_world(), run, world == 1 ? "spatial=1" : "spatial=1x2", /*stop_after=*/3);
  const at::Tensor found = trained(test_world(), run, world == 4 ? "spatial=2x2" : "");
  if (test_world().rank() != 0) return;
  const at::Tensor expected = trained(mpi::Comm::self(), root_ / "alone", "");
  EXPECT_LE((found - expected).abs().max().item<double>(), 1e-9);
}

TEST_F(ShowerDiffusionSlabsTest, SlabsBesideStagesOrRecomputingAreRefused) {
  if (test_world().size() != 4) return;
  train::Session session(asked(root_ / "both", "pipeline=2,spatial=2"), test_world(), {});
  models::CaloDiffusion network(models::CaloDiffusionOptions{.cells = {8, 4, 4}, .channels = {8, 8}});
  const auto refusal = [&](const ShowerDiffusionOptions& options) -> std::string {
    try {
      create_diffusion_engine(session, options, network);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(refusal({}), testing::HasSubstr("stages (pipeline) or slabs (spatial) beside replicas"));
  EXPECT_THAT(refusal({.activation_bytes = 1e9}), testing::HasSubstr("0 with slabs"));
  session.close();
}

}  // namespace
}  // namespace bunchtrain::shower_simulation
