// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/particle_net.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/models/registry.hpp"

namespace bunchtrain::models {
namespace {

/// Jets with given numbers of real particles, standard normal features, zero padding.
struct Jets {
  at::Tensor points, features, mask;
};

at::Tensor normal(at::IntArrayRef shape, std::uint64_t stream) {
  const at::Tensor values = at::empty(shape, at::kDouble);
  const CounterRandom random(3, stream);
  for (std::int64_t i = 0; i < values.numel(); ++i)
    values.mutable_data_ptr<double>()[i] = random.normal(static_cast<std::uint64_t>(i));
  return values;
}

Jets make_jets(const std::vector<std::int64_t>& multiplicities, std::int64_t slots, at::ScalarType type) {
  const auto jets = static_cast<std::int64_t>(multiplicities.size());
  const at::Tensor counts = at::empty({jets, 1}, at::kLong);
  std::copy(multiplicities.begin(), multiplicities.end(), counts.mutable_data_ptr<std::int64_t>());
  const at::Tensor mask = at::arange(slots).unsqueeze(0).lt(counts);
  return {normal({jets, slots, 2}, 0).mul(mask.unsqueeze(2)).to(type),
          normal({jets, slots, 7}, 1).mul(mask.unsqueeze(2)).to(type), mask};
}

ParticleNet make_lite(PaddingRule padding = PaddingRule::weaver, BatchNormRows rows = BatchNormRows::all) {
  ParticleNetOptions options = ParticleNetOptions::lite();
  options.padding = padding;
  options.batch_norm_rows = rows;
  return ParticleNet(options);
}

std::int64_t parameters_of(ParticleNetOptions options, bool fusion = false) {
  options.fusion = fusion;
  return count_parameters(*ParticleNet(options));
}

ParticleNetOptions full(std::int64_t num_features, std::int64_t num_classes) {
  ParticleNetOptions options;
  options.num_features = num_features;
  options.num_classes = num_classes;
  return options;
}

TEST(ParticleNetTest, ParameterCountsArePublishedOnes) {
  EXPECT_EQ(parameters_of(full(7, 2)), 366'160);
  EXPECT_EQ(parameters_of(full(17, 10)), 370'156);
  EXPECT_EQ(parameters_of(full(7, 2), true), 571'728);
  EXPECT_EQ(parameters_of(ParticleNetOptions::lite()), 26'416);
  EXPECT_EQ(parameters_of(ParticleNetOptions::lite(17, 10)), 28'428);
  EXPECT_EQ(parameters_of(ParticleNetOptions::lite(), true), 47'152);
}

TEST(ParticleNetTest, SeedDecidesTheInitialWeights) {
  const auto weight = [](std::uint64_t seed) {
    ParticleNetOptions options = ParticleNetOptions::lite();
    options.seed = seed;
    return ParticleNet(options)->named_parameters()["edge_convs.1.convs.2.weight"].detach().clone();
  };
  EXPECT_TRUE(at::equal(weight(1), weight(1)));
  EXPECT_FALSE(at::equal(weight(1), weight(2)));
  const double bound = 1 / std::sqrt(64.0);
  EXPECT_LE(weight(1).abs().max().item<double>(), bound);
  EXPECT_GT(weight(1).abs().max().item<double>(), 0.99 * bound);
  EXPECT_NEAR(weight(1).std().item<double>(), bound / std::sqrt(3.0), 0.02 * bound);
}

class ParticleNetMaskingTest : public testing::TestWithParam<std::tuple<PaddingRule, BatchNormRows>> {
 protected:
  ParticleNet model() const { return make_lite(std::get<0>(GetParam()), std::get<1>(GetParam())); }
};

TEST_P(ParticleNetMaskingTest, PermutationOfParticlesChangesNothing) {
  ParticleNet net = model();
  net->to(at::kDouble);
  net->eval();
  const Jets jets = make_jets({12, 3, 16, 1}, 16, at::kDouble);
  const at::Tensor order = at::randperm(16, at::kLong);
  const at::Tensor before = net->forward(jets.points, jets.features, jets.mask);
  const at::Tensor after =
      net->forward(jets.points.index_select(1, order), jets.features.index_select(1, order),
                   jets.mask.index_select(1, order));
  EXPECT_LT(before.sub(after).abs().max().item<double>(), 1e-12);
}

TEST_P(ParticleNetMaskingTest, FewParticlesTrain) {
  for (const auto& multiplicities :
       std::vector<std::vector<std::int64_t>>{{0, 1, 2, 7, 8, 9, 16}, {0, 0}, {1, 1}}) {
    ParticleNet net = model();
    const Jets jets = make_jets(multiplicities, 16, at::kFloat);
    const at::Tensor logits = net->forward(jets.points, jets.features, jets.mask);
    EXPECT_TRUE(at::isfinite(logits).all().item<bool>());
    at::cross_entropy_loss(logits, at::zeros({logits.size(0)}, at::kLong)).backward();
    for (const auto& item : net->named_parameters()) {
      EXPECT_TRUE(at::isfinite(item.value().grad()).all().item<bool>()) << item.key();
    }
  }
}

TEST_P(ParticleNetMaskingTest, WhatPaddedSlotsHoldDoesNotMatter) {
  ParticleNet net = model(), other = model();
  Jets jets = make_jets({12, 3, 16, 1}, 16, at::kFloat);
  const at::Tensor clean = net->forward(jets.points, jets.features, jets.mask);
  const at::Tensor junk = jets.mask.logical_not().unsqueeze(2).to(at::kFloat).mul(50.0);
  const at::Tensor dirty = other->forward(jets.points.add(junk), jets.features.add(junk), jets.mask);
  EXPECT_TRUE(at::equal(clean, dirty));
}

INSTANTIATE_TEST_SUITE_P(Rules, ParticleNetMaskingTest,
                         testing::Combine(testing::Values(PaddingRule::weaver, PaddingRule::keras),
                                          testing::Values(BatchNormRows::all, BatchNormRows::real)));

TEST(ParticleNetTest, MorePaddingChangesNothingInEvaluation) {
  ParticleNet net = make_lite();
  net->eval();
  const Jets jets = make_jets({12, 3, 20}, 20, at::kFloat);
  const Jets longer = make_jets({12, 3, 20}, 32, at::kFloat);
  const auto real = [&](const at::Tensor& values) { return values.narrow(1, 0, 20); };
  const at::Tensor wide = net->forward(longer.points, longer.features, longer.mask);
  const at::Tensor narrow = net->forward(real(longer.points), real(longer.features), jets.mask);
  EXPECT_LT(wide.sub(narrow).abs().max().item<double>(), 1e-6);
}

std::string message_of(ParticleNet& net, const at::Tensor& points, const at::Tensor& features,
                       const at::Tensor& mask) {
  try {
    net->forward(points, features, mask);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ParticleNetTest, RefusesWhatDoesNotFit) {
  ParticleNet net = make_lite();
  const Jets jets = make_jets({7}, 7, at::kFloat);
  EXPECT_THAT(message_of(net, jets.points, jets.features, jets.mask),
              testing::HasSubstr("length of at least 8"));
  const Jets enough = make_jets({8}, 8, at::kFloat);
  EXPECT_THAT(message_of(net, enough.points, enough.features.narrow(2, 0, 6), enough.mask),
              testing::HasSubstr("[1, 8, 6]"));
  EXPECT_THAT(message_of(net, enough.points, enough.features, enough.mask.to(at::kFloat)),
              testing::HasSubstr("bool mask"));
  EXPECT_EQ(message_of(net, enough.points, enough.features, enough.mask), "accepted");
}

TEST(ParticleNetTest, HeadsAreOutputsInTheUnitOfTheirTargets) {
  ParticleNetOptions options = ParticleNetOptions::lite();
  options.heads = {{.name = "energy", .mean = 50, .width = 20},
                   {.name = "mass", .mean = 1, .width = 0.1, .own_width = true}};
  const auto module = create_from(options.describe().to_json());
  auto& model = dynamic_cast<ParticleNetImpl&>(*module);
  EXPECT_EQ(model.options().heads, options.heads) << "JSON keeps them";
  EXPECT_EQ(count_parameters(model), 26'416 + 3 * 129);
  model.to(at::kDouble);
  model.eval();
  const Jets jets = make_jets({9, 3, 12}, 12, at::kDouble);
  const NamedTensors inputs = {{"points", jets.points}, {"features", jets.features}, {"mask", jets.mask}};
  const NamedTensors outputs = model.forward(inputs);
  EXPECT_EQ(outputs["energy"].sizes(), at::IntArrayRef({3}));
  EXPECT_EQ(outputs.size(), 4U);
  EXPECT_EQ(outputs["mass_width"].sizes(), at::IntArrayRef({3}));
  EXPECT_TRUE(outputs["mass_width"].gt(0).all().item<bool>());

  ParticleNet plain(ParticleNetOptions::lite());
  plain->to(at::kDouble);
  plain->eval();
  EXPECT_TRUE(at::equal(outputs["logits"], plain->forward(jets.points, jets.features, jets.mask)))
      << "the same initial weights: heads come after";
  EXPECT_EQ(plain->description().find("heads"), std::string::npos) << "older programs read it";

  const at::Tensor before = outputs["mass"].detach().clone();
  const at::NoGradGuard no_gradients;
  for (const auto& parameter : model.named_parameters())
    if (parameter.key().starts_with("heads.energy.")) parameter.value().zero_();
  EXPECT_TRUE(model.forward(inputs)["energy"].eq(50).all().item<bool>()) << "its mean";
  EXPECT_TRUE(at::equal(model.forward(inputs)["mass"], before)) << "a head of its own";
}

TEST(ParticleNetTest, RefusesHeadsThatAreNone) {
  const auto refusal = [](std::vector<RegressionHead> heads) {
    ParticleNetOptions options = ParticleNetOptions::lite();
    options.heads = std::move(heads);
    try {
      options.validate();
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  using testing::HasSubstr;
  EXPECT_EQ(refusal({{.name = "energy"}}), "accepted");
  for (const char* name : {"", "a.b", "logits"}) EXPECT_THAT(refusal({{.name = name}}), HasSubstr("heads"));
  EXPECT_THAT(refusal({{.name = "e"}, {.name = "e"}}), HasSubstr("each once"));
  EXPECT_THAT(refusal({{.name = "e_width"}, {.name = "e", .own_width = true}}), HasSubstr("each once"));
  EXPECT_THAT(refusal({{.name = "e", .mean = NAN}}), HasSubstr("heads.mean"));
  EXPECT_THAT(refusal({{.name = "e", .width = 0}}), HasSubstr("heads.width"));
}

TEST(ParticleNetTest, OptionsNameTheWrongField) {
  ParticleNetOptions options;
  options.num_classes = 0;
  EXPECT_THROW(options.validate(), ConfigError);
  options = {};
  options.blocks.clear();
  EXPECT_THROW(ParticleNet{options}, ConfigError);
  options = {};
  options.dropout = 1;
  EXPECT_THROW(options.validate(), ConfigError);
  options = {};
  options.blocks[1].k = 0;
  EXPECT_THROW(options.validate(), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::models
