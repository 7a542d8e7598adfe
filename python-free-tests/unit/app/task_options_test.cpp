// SPDX-License-Identifier: Apache-2.0
// What a command line says of a task arrives in its struct; a host application writes the struct itself.
#include <gmock/gmock.h>

#include "bunchtrain/app/jet_tagging.hpp"
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

/// Every option of `specs` that has names takes no other, be it by the table or, where a program's own option lets
/// it through, by `read`; both say which there are.
template <class Read>
void expect_names(const std::vector<config::OptionSpec>& specs, Read read) {
  auto open_specs = specs;
  for (auto& each : open_specs) each.allowed.clear();
  for (const auto& spec : specs) {
    if (spec.allowed.empty()) continue;
    const Texts flags = {"--" + spec.name, "rubbish"};
    const std::string refused = error_of([&] { parse_flags(flags, specs); });
    const train::Session session = open(parse_flags(flags, open_specs));
    const std::string found = error_of([&] { read(session); });
    for (const auto& name : spec.allowed) {
      EXPECT_THAT(refused, AllOf(HasSubstr("rubbish"), HasSubstr(name))) << spec.name;
      EXPECT_THAT(found, AllOf(HasSubstr("rubbish"), HasSubstr(name))) << spec.name;
    }
  }
}

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
                           "--io=hdf5",
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
                                            .io = data::IoEngine::hdf5,
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
  expect_names(shower_gan_specs(), [](const train::Session& session) { shower_gan_options(session); });
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

class ClassifierOptionsTest : public testing::Test {
 protected:
  static jet_tagging::ClassifierOptions read(const Texts& flags) {
    return classifier_options(open(parse_flags(flags, classifier_specs())));
  }
};

TEST_F(ClassifierOptionsTest, DefaultsAreThoseOfTheStruct) {
  const jet_tagging::ClassifierOptions found = read({}), expected;
  EXPECT_EQ(found.data, expected.data);
  EXPECT_EQ(found.model, expected.model);
  EXPECT_EQ(found.heads, expected.heads);
  EXPECT_EQ(found.dropout, expected.dropout);
  EXPECT_EQ(found.fusion, expected.fusion);
  EXPECT_EQ(found.padding, expected.padding);
  EXPECT_EQ(found.batch_norm_rows, expected.batch_norm_rows);
  EXPECT_EQ(found.recompute, expected.recompute);
  EXPECT_EQ(found.length_buckets, expected.length_buckets);
  EXPECT_EQ(found.init, expected.init);
  EXPECT_EQ(found.init_mode, expected.init_mode);
  EXPECT_TRUE(found.init_renames.empty());
  EXPECT_EQ(found.freeze, expected.freeze);
}

TEST_F(ClassifierOptionsTest, EveryValueArrivesInItsField) {
  const auto found = read({"--data",
                           "a.h5",
                           "--particles",
                           "9",
                           "--classes",
                           "b,c",
                           "--model",
                           "mine",
                           "--head",
                           "energy:huber:0.5",
                           "--dropout",
                           "0.5",
                           "--fusion",
                           "--padding-rule",
                           "keras",
                           "--batch-norm-rows",
                           "real",
                           "--recompute",
                           "--init",
                           "old",
                           "--length-buckets",
                           "64",
                           "--init-mode",
                           "partial",
                           "--init-rename",
                           "fc=head",
                           "--freeze",
                           "edge_convs.*"});
  EXPECT_EQ(found.data, (jet_tagging::JetDataOptions{
                            .files = {.data = {"a.h5"}}, .particles = 9, .classes = {"b", "c"}}));
  EXPECT_EQ(found.model, "mine");
  EXPECT_EQ(found.heads, (std::vector<jet_tagging::HeadChoice>{
                             {.target = "energy", .loss = train::RegressionLoss::huber, .weight = 0.5}}));
  EXPECT_EQ(found.dropout, 0.5);
  EXPECT_TRUE(found.fusion);
  EXPECT_EQ(found.padding, models::PaddingRule::keras);
  EXPECT_EQ(found.batch_norm_rows, models::BatchNormRows::real);
  EXPECT_TRUE(found.recompute);
  EXPECT_EQ(found.length_buckets, 64);
  EXPECT_EQ(found.init, "old");
  EXPECT_EQ(read({"--weights", "older"}).init, "older");
  EXPECT_EQ(found.init_mode, weights::LoadMode::partial);
  ASSERT_EQ(found.init_renames.size(), 1U);
  EXPECT_EQ(found.init_renames[0].from + " " + found.init_renames[0].to, "fc head");
  EXPECT_EQ(found.freeze, Texts{"edge_convs.*"});
}

TEST_F(ClassifierOptionsTest, WhatDoesNotGoTogetherIsRefused) {
  EXPECT_THAT(error_of([] { read({"--init", "a", "--weights", "b"}); }), HasSubstr("--init alone"));
  EXPECT_THAT(error_of([] { read({"--init-mode", "partial"}); }), HasSubstr("--init-rename are about"));
  EXPECT_THAT(error_of([] { read({"--head", "energy:0.5:huber"}); }), HasSubstr("a target of the card"));
  EXPECT_THAT(
      error_of([] {
        jet_tagging::ClassifierOptions{.heads = {{.target = "energy"}, {.target = "energy"}}}.validate();
      }),
      HasSubstr("each target once"));
  EXPECT_THAT(error_of([] { jet_tagging::ClassifierOptions{.heads = {{.target = "flavour"}}}.validate(); }),
              HasSubstr("another target"));
}

TEST_F(ClassifierOptionsTest, LengthBucketsAreForNetworksThatDoNotSeeThePadding) {
  using models::BatchNormRows;
  jet_tagging::ClassifierOptions options{.batch_norm_rows = BatchNormRows::real, .length_buckets = 64};
  EXPECT_NO_THROW(options.validate());
  options.padding = models::PaddingRule::keras;
  EXPECT_THAT(error_of([&] { options.validate(); }),
              HasSubstr("a mean over all slots depends on the padding"));
  options.padding = models::PaddingRule::weaver;
  options.batch_norm_rows = BatchNormRows::all;
  EXPECT_THAT(error_of([&] { options.validate(); }), HasSubstr("statistics with padded entries"));
  options.model = "mine";  // which knows best
  EXPECT_NO_THROW(options.validate());
  options.length_buckets = -1;
  EXPECT_THAT(error_of([&] { options.validate(); }), HasSubstr("a number of batches, or 0 for none"));
}

TEST_F(ClassifierOptionsTest, UnknownNamesAreErrorsThatListTheNames) {
  auto specs = classifier_specs();
  for (auto& spec : specs)  // not without weights
    if (spec.name == "init") spec.default_value = std::string("weights");
  expect_names(specs, [](const train::Session& session) { classifier_options(session); });
}

class EvaluateOptionsTest : public testing::Test {
 protected:
  static jet_tagging::EvaluateOptions read(const Texts& flags, std::vector<config::OptionSpec> more = {}) {
    auto specs = evaluate_specs();
    for (auto& spec : more) specs.push_back(std::move(spec));
    return evaluate_options(open(parse_flags(flags, std::move(specs))));
  }
};

TEST_F(EvaluateOptionsTest, DefaultsAreThoseOfTheStruct) {
  EXPECT_EQ(read({}), jet_tagging::EvaluateOptions{});
}

TEST_F(EvaluateOptionsTest, EveryValueArrivesInItsField) {
  const jet_tagging::EvaluateOptions expected{
      .runs = {"runs/a"},
      .data = {"a.h5"},
      .split = jet_tagging::EvaluatedPart::valid,
      .checkpoint = "best",
      .averaged = false,
      .batch = 7,
      .output = "o",
      .page = "p",
      .against = {{.expression = "jet.pt", .bins = 8}, {.expression = "jet.eta"}},
      .working_point = 0.25,
      .force = true,
      .hdf5_plugins = true,
      .io = data::IoEngine::hdf5,
      .decode = data::DecodeOn::device};
  const Texts flags = {"--io=hdf5",      "--decode=device",
                       "--data",         "a.h5",
                       "--split",        "valid",
                       "--checkpoint",   "best",
                       "--average",      "off",
                       "--batch",        "7",
                       "--output",       "o",
                       "--page",         "p",
                       "--against",      "jet.pt:8",
                       "jet.eta",        "--working-point",
                       "0.25",           "--force",
                       "--hdf5-plugins", "--run",
                       "runs/a"};
  EXPECT_EQ(read(flags), expected);
  auto of_both = expected;
  of_both.runs.emplace_back("runs/b");
  Texts both = flags;
  both.emplace_back("runs/b");
  EXPECT_EQ(read(both, {{.name = "run", .default_value = Texts{}, .help = "to read"}}), of_both);
  EXPECT_THAT(error_of([] { read({"--against", "jet.pt:none"}); }), HasSubstr("a column of the card"));
}

TEST_F(EvaluateOptionsTest, UnknownNamesAreErrorsThatListTheNames) {
  expect_names(evaluate_specs(), [](const train::Session& session) { evaluate_options(session); });
}

}  // namespace
}  // namespace bunchtrain::app
