// SPDX-License-Identifier: Apache-2.0
// What a command line says of a task arrives in its struct; a host application writes the struct itself.
#include <gmock/gmock.h>

#include "bunchtrain/app/shower_simulation.hpp"
#include "bunchtrain/core/error.hpp"
#include "support/flags.hpp"

namespace bunchtrain::app {
namespace {

using shower_simulation::ShowerGanOptions;
using test::parse_flags;
using testing::AllOf;
using testing::HasSubstr;
using Texts = std::vector<std::string>;

/// The message of the error that `action` ends with.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

train::Session open(const config::Options& options) { return open_session(options, mpi::Comm::self(), {}); }

class ShowerGanOptionsTest : public testing::Test {
 protected:
  static ShowerGanOptions read(const Texts& flags) {
    return shower_gan_options(open(parse_flags(flags, shower_gan_specs())));
  }
};

TEST_F(ShowerGanOptionsTest, DefaultsAreThoseOfTheStruct) { EXPECT_EQ(read({}), ShowerGanOptions{}); }

TEST_F(ShowerGanOptionsTest, EveryValueArrivesInItsField) {
  Texts flags;
  for (const char* flag : {"--data=a.h5",
                           "--valid=b.h5",
                           "--card=lcd_angle",
                           "--valid-fraction=0.25",
                           "--hash-data",
                           "--hdf5-plugins",
                           "--showers=7",
                           "--variant=angle",
                           "--published",
                           "--theta=true",
                           "--flip=0.5",
                           "--generator-updates=3",
                           "--dropout=0.125",
                           "--bin-counts",
                           "--bin-count-smoothing=2",
                           "--weight-generation=1",
                           "--weight-energy=2",
                           "--weight-angle=3",
                           "--weight-sum=4",
                           "--weight-counts=0",
                           "--generator-weights=g",
                           "--discriminator-weights=d"})
    flags.emplace_back(flag);
  const ShowerGanOptions expected{.files = {.data = {"a.h5"},
                                            .valid = {"b.h5"},
                                            .card = "lcd_angle",
                                            .valid_fraction = 0.25,
                                            .hash_data = true,
                                            .hdf5_plugins = true},
                                  .showers = 7,
                                  .variant = models::ShowerVariant::variable_angle,
                                  .published = true,
                                  .measured_theta = false,
                                  .flip = 0.5,
                                  .generator_updates = 3,
                                  .dropout = 0.125,
                                  .bin_counts = true,
                                  .bin_count_smoothing = 2,
                                  .weight_generation = 1,
                                  .weight_energy = 2,
                                  .weight_angle = 3,
                                  .weight_sum = 4,
                                  .weight_counts = 0,
                                  .generator_weights = "g",
                                  .discriminator_weights = "d"};
  EXPECT_EQ(read(flags), expected);
}

TEST_F(ShowerGanOptionsTest, UnknownNamesAreErrorsThatListTheNames) {
  for (auto spec : shower_gan_specs()) {
    if (spec.allowed.empty()) continue;
    const Texts names = spec.allowed, flags = {"--" + spec.name, "rubbish"};
    const std::string refused = error_of([&] { parse_flags(flags, shower_gan_specs()); });
    auto open_specs = shower_gan_specs();
    for (auto& each : open_specs) each.allowed.clear();
    const train::Session session = open(parse_flags(flags, open_specs));
    const std::string found = error_of([&] { shower_gan_options(session); });
    for (const auto& name : names) {
      EXPECT_THAT(refused, AllOf(HasSubstr("rubbish"), HasSubstr(name))) << spec.name;
      EXPECT_THAT(found, AllOf(HasSubstr("rubbish"), HasSubstr(name))) << spec.name;
    }
  }
}

TEST_F(ShowerGanOptionsTest, AHostApplicationNeedsNoCommandLine) {
  train::Session session({.device = device::DeviceRequest::cpu}, mpi::Comm::self(), {});
  const auto [train, valid] =
      shower_simulation::open_showers(session, {.files = {.valid_fraction = 0.25}, .showers = 8});
  EXPECT_EQ(train->size(), 6);
  EXPECT_EQ(valid->size(), 2);
  EXPECT_THAT(error_of([&] { shower_simulation::open_showers(session, {.showers = 1}); }),
              AllOf(HasSubstr("showers"), HasSubstr("at least 10")));
  EXPECT_THAT(error_of([&] { shower_simulation::shower_gan_step_options(session, {.flip = 2}, *train); }),
              HasSubstr("a share from 0 to 1"));
  EXPECT_THAT(error_of([&] {
                shower_simulation::shower_gan_step_options(session, {.generator_updates = 0}, *train);
              }),
              HasSubstr("at least 1"));
  session.close();
}

TEST_F(ShowerGanOptionsTest, WhatTheTaskDoesNotNeedIsToldToTheUser) {
  train::Session session = open(
      parse_flags({"--showers", "40", "--card", "lcd_fixed", "--valid-fraction", "0.5"}, shower_gan_specs()));
  shower_simulation::open_showers(session, shower_gan_options(session));
  EXPECT_EQ(session.options().unused(), Texts{"card"});
  session.close();
}

}  // namespace
}  // namespace bunchtrain::app
