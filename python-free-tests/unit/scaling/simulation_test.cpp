// SPDX-License-Identifier: Apache-2.0
// The scaling simulator: closed forms where there are some, published points where there are none.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "../../support/process.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/layout_plan.hpp"
#include "simulation/prediction_report.hpp"

namespace scaling {
namespace {

namespace fs = std::filesystem;

Machine plain() {
  Machine machine;
  machine.name = "test";
  machine.samples = 1000;
  machine.batch = 10;
  machine.seconds_per_step = 1;
  return machine;
}

const std::string kMachines = BUNCHTRAIN_MACHINES;

TEST(ScalingSimulation, CountsWholeSteps) {
  const Machine machine = plain();
  EXPECT_DOUBLE_EQ(simulate_epoch(machine, 1, 1).seconds, 100);
  const Epoch uneven = simulate_epoch(machine, 3, 1);  // 33.3 steps
  EXPECT_EQ(uneven.steps, 34);
  EXPECT_DOUBLE_EQ(uneven.seconds, 34);
  EXPECT_DOUBLE_EQ(uneven.step.compute, 1);
  EXPECT_DOUBLE_EQ(uneven.step.total(), 1);
}

TEST(ScalingSimulation, SumsAreRingsOrTreesWithinAndBetweenNodes) {
  Machine machine = plain();
  machine.inside = {.latency_seconds = 1e-3, .bytes_per_second = 1e6};
  machine.between = {.latency_seconds = 1, .bytes_per_second = 1e3};
  machine.ranks_per_node = 4;
  EXPECT_EQ(sum_seconds(machine, 1, 1e6), 0);
  EXPECT_NEAR(sum_seconds(machine, 4, 1e6), 2 * 3 * (1e-3 + 0.25), 1e-12) << "a ring of four";
  EXPECT_NEAR(sum_seconds(machine, 4, 1), 2 * 2 * 1e-3 + 2e-6, 1e-12) << "a tree for a small sum";
  const double inside = sum_seconds(machine, 4, 1e3);
  EXPECT_NEAR(sum_seconds(machine, 32, 1e3), inside + std::min(2 * 7 * (1 + 1.0 / 8), 2 * 3 * 1.0 + 2),
              1e-12);
  machine.least_nodes = 2;
  EXPECT_EQ(nodes_of(machine, 1), 1);
  EXPECT_EQ(nodes_of(machine, 4), 2);
  EXPECT_EQ(nodes_of(machine, 9), 3);
}

TEST(ScalingSimulation, WhatIsIssuedEarlyIsHidden) {
  Machine machine = plain();
  machine.ranks_per_node = 2;
  machine.inside = {.latency_seconds = 0.1, .bytes_per_second = 1e9};  // 0.2 s for two
  machine.collectives = {{.bytes = 0, .issued = 0.5, .needed = 1}};
  Epoch epoch = simulate_epoch(machine, 2, 1);
  EXPECT_NEAR(epoch.seconds, 50, 1e-9) << "in the shadow of the other half";
  EXPECT_NEAR(epoch.step.communication, 0, 1e-12);

  machine.collectives = {{.bytes = 0, .issued = 0.9, .needed = 1}};
  epoch = simulate_epoch(machine, 2, 1);
  EXPECT_NEAR(epoch.seconds, 50 * 1.1, 1e-9);
  EXPECT_NEAR(epoch.step.communication, 0.1, 1e-9);

  // The second follows the first; what is needed in the middle stops the computing there.
  machine.collectives = {{.bytes = 0, .issued = 0.9, .needed = 1}, {.bytes = 0, .issued = 0.9, .needed = 1}};
  EXPECT_NEAR(simulate_epoch(machine, 2, 1).seconds, 50 * 1.3, 1e-9);
  machine.collectives = {{.bytes = 0, .issued = 0.5, .needed = 0.5}, {.bytes = 0, .issued = 1, .needed = 1}};
  EXPECT_NEAR(simulate_epoch(machine, 2, 1).seconds, 50 * 1.4, 1e-9);
}

TEST(ScalingSimulation, TheSlowestHoldsAllUp) {
  Machine machine = plain();
  machine.stragglers = {.spread = 0, .slow_ranks = 1, .slow_factor = 1.5};
  const Epoch epoch = simulate_epoch(machine, 10, 1);
  EXPECT_NEAR(epoch.seconds, 15, 1e-9);
  EXPECT_NEAR(epoch.step.compute, 1.05, 1e-9);
  EXPECT_NEAR(epoch.step.idle, 0.45, 1e-9);

  // The largest of 100 draws lies about 2.5 spreads above the mean.
  machine.stragglers = {.spread = 0.01};
  machine.samples = 100'000;
  const Epoch spread = simulate_epoch(machine, 100, 1);
  EXPECT_NEAR(spread.step.total(), std::exp(0.0251), 0.002);
  EXPECT_NEAR(spread.step.compute, 1, 0.001);
  EXPECT_EQ(simulate_epoch(machine, 100, 1).seconds, spread.seconds) << "the same draws";
  EXPECT_NE(simulate_epoch(machine, 100, 2).seconds, spread.seconds);
}

TEST(ScalingSimulation, ALoaderIsHiddenUntilItsSourceIsTheBound) {
  Machine machine = plain();
  machine.loader = {.prefetch = 0, .seconds_per_sample = 0.01};
  Epoch epoch = simulate_epoch(machine, 2, 1);
  EXPECT_NEAR(epoch.seconds, 50 * 1.1, 1e-9) << "each batch when it is asked for";
  EXPECT_NEAR(epoch.step.data, 0.1, 1e-9);
  machine.loader.prefetch = 1;
  epoch = simulate_epoch(machine, 2, 1);
  EXPECT_NEAR(epoch.seconds, 50 + 0.1, 1e-9) << "the first alone is waited for";

  machine.loader = {.prefetch = 2, .seconds_per_sample = 0, .samples_per_second = 100};
  EXPECT_NEAR(simulate_epoch(machine, 5, 1).seconds, 20, 1) << "10 samples in 0.1 s, five times";
  EXPECT_NEAR(simulate_epoch(machine, 100, 1).seconds, 10, 1)
      << "1000 samples at 100 a second, however many ask";
}

TEST(ScalingSimulation, ThousandsOfRanks) {
  Machine machine = plain();
  machine.samples = 1'000'000;
  machine.ranks_per_node = 8;
  machine.between = {.latency_seconds = 1e-5, .bytes_per_second = 1e10};
  machine.collectives = {{.bytes = 1e6, .issued = 0.5, .needed = 1}};
  const Epoch epoch = simulate_epoch(machine, 4096, 1);
  EXPECT_EQ(epoch.steps, 25);
  EXPECT_NEAR(epoch.seconds, 25, 1e-6);
}

TEST(ScalingSimulation, FitsOnePointAndShowsTheOthers) {
  const Machine machine = calibrated(read_machine(fs::path(kMachines) / "v100-cloud.toml"), 7);
  EXPECT_NEAR(machine.seconds_per_step, 1784.42 / 651, 0.01);
  for (const KnownEpoch& known : machine.measured) {
    const double predicted = simulate_epoch(machine, known.ranks, 7).seconds;
    EXPECT_NEAR(predicted / known.seconds, 1, known.ranks <= 64 ? 0.04 : 0.15) << known.ranks;
    EXPECT_LT(predicted, known.seconds * 1.001) << "nothing that this leaves out would make it faster";
  }
}

TEST(ScalingSimulation, WithoutPrefetchTheSourceIsTheBound) {
  const Machine machine = calibrated(read_machine(fs::path(kMachines) / "v100-cloud-no-prefetch.toml"), 7);
  for (const KnownEpoch& known : machine.measured)
    EXPECT_NEAR(simulate_epoch(machine, known.ranks, 7).seconds / known.seconds, 1,
                known.ranks <= 32 ? 0.04 : 0.25)
        << known.ranks << ": one number stands for the source";
}

TEST(ScalingSimulation, OurOwnRunsWithinFivePercent) {
  for (const char* file : {"two-cores-3dgan.toml", "two-cores-particlenet.toml"}) {
    const Machine machine = read_machine(fs::path(kMachines) / file);
    for (const KnownEpoch& known : machine.measured)
      EXPECT_NEAR(simulate_epoch(machine, known.ranks, 7).seconds / known.seconds, 1, 0.05)
          << file << " " << known.ranks;
  }
}

class MachineFile : public ::testing::Test {
 protected:
  MachineFile() { fs::create_directories(folder_); }
  ~MachineFile() override { fs::remove_all(folder_); }

  fs::path write(const std::string& text, const std::string& name = "machine.toml") const {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  std::string refusal(const std::string& text) const {
    try {
      calibrated(staged(read_machine(write(text))), 1);
    } catch (const bunchtrain::ConfigError& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_ = fs::temp_directory_path() / ("bunchtrain_machine_" + std::to_string(getpid()));
};

constexpr const char* kLeast = "samples = 100\nbatch = 10\nseconds_per_step = 1\n";

TEST_F(MachineFile, SaysWhatDoesNotReadAndWhere) {
  EXPECT_EQ(refusal(kLeast), "");
  const std::pair<std::string, std::string> cases[] = {
      {"samples = ", "line 1"},
      {"samples = 100\nbtach = 10", "line 2"},
      {"samples = 100\nbtach = 10", "known here: name, sources, samples, batch"},
      {"samples = 1.5", "a whole number"},
      {"name = 1", "a text"},
      {"sources = 1", "a list"},
      {"seconds_per_step = 'long'", "a number"},
      {"inside = 1", "a table [inside]"},
      {"ranks_per_node = -1", "0 to a million"},
      {"batch = 10", "samples"},
      {"samples = 100", "batch"},
      {"samples = 100\nbatch = 10", "the time of a step"},
      {std::string(kLeast) + "collectives = [{ bytes = 1, issued = 0.9, needed = 0.8 }]",
       "collectives.issued"},
      {std::string(kLeast) + "collectives = [{ bytes = 1, issued = 0.9, needed = 1.8 }]",
       "collectives.needed"},
      {std::string(kLeast) + "between = { bytes_per_second = 0 }", "between.bytes_per_second"},
      {std::string(kLeast) + "stragglers = { slow_factor = 0.5 }", "stragglers.slow_factor"},
      {std::string(kLeast) + "stages = { pipeline = 2, schedule = 'fast', profile = 'p.json' }", "fast"},
      {std::string(kLeast) +
           "calibration = { ranks = 1, seconds = 1 }\nloader = { prefetch = 0, seconds_per_sample = 1 }",
       "more than communication and loading alone take"},
      {std::string(kLeast) +
           "calibration = { ranks = 2, seconds = 1 }\nstages = { pipeline = 2, profile = 'p.json' }",
       "0 with stages"}};
  for (const auto& [text, part] : cases)
    EXPECT_NE(refusal(text).find(part), std::string::npos) << text << "\n" << refusal(text);
}

TEST_F(MachineFile, StagesTakeTheirTimeFromAProfile) {
  bunchtrain::parallel::UnitProfile profile{.model = "test"};
  for (int i = 0; i < 4; ++i)
    profile.units.push_back(
        {.name = "unit" + std::to_string(i),
         .costs = {.forward = 0.1, .input_gradient = 0.1, .weight_gradient = 0.1, .activation_bytes = 1}});
  write(bunchtrain::parallel::to_json(profile), "units.json");
  const std::string text =
      "samples = 80\nbatch = 8\nstages = { pipeline = 2, schedule = '1f1b', microbatches = 8, profile = 'units.json' }\n";
  const Machine machine = staged(read_machine(write(text)));
  // Eight microbatches of one sample, two stages of 0.6 s each: nine of them in a row.
  EXPECT_NEAR(machine.seconds_per_step, 9 * 0.6, 1e-6);
  EXPECT_NEAR(simulate_epoch(machine, 4, 1).seconds, 5 * 9 * 0.6, 1e-5) << "two replicas";
  EXPECT_NE(
      refusal(
          "samples = 80\nbatch = 8\nstages = { pipeline = 3, schedule = 'zb-v', profile = 'units.json' }\n"),
      "");
}

TEST_F(MachineFile, ThePredictionSaysThatItIsOne) {
  Machine machine = plain();
  machine.sources = {"a test"};
  machine.measured = {{.ranks = 2, .seconds = 40}};
  const std::string text =
      write_prediction(folder_, {.machine = machine,
                                 .epochs = {simulate_epoch(machine, 1, 1), simulate_epoch(machine, 2, 1)},
                                 .command = "scaling"});
  EXPECT_NE(text.find("A prediction, not a measurement"), std::string::npos);
  EXPECT_NE(text.find("| 40.0 | +25.0 % |"), std::string::npos) << text;
  EXPECT_NE(text.find("Source: a test"), std::string::npos);
  EXPECT_EQ(bunchtrain::test::read_file(folder_ / "prediction.md"), text);
  EXPECT_EQ(bunchtrain::test::read_file(folder_ / "prediction.svg").rfind("<svg", 0), 0U);
  EXPECT_NE(bunchtrain::test::read_file(folder_ / "prediction.json").find("\"prediction\": true"),
            std::string::npos);
}

}  // namespace
}  // namespace scaling
