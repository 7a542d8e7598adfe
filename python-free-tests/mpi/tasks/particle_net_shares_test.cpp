// SPDX-License-Identifier: Apache-2.0
/// ParticleNet on ranks without jets, with synchronised batch norm, against one rank in float64.
#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/where.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/train/objectives.hpp"
#include "shares.hpp"
#include "support/host_reads.hpp"

namespace bunchtrain::models {
namespace {

using test::Share;
using ShareTest = test::ShareTest;

constexpr std::int64_t kSlots = 6, kFeatures = 3;
constexpr std::uint64_t kSeed = 5;

/// Jets of 0 to kSlots particles: the fourth of every four has none.
Batch make_batch(const Share& share, at::ScalarType type) {
  const at::Tensor ids = test::ids_of(share);
  const at::Tensor particles = (ids + 1).remainder(4) * 2;
  const at::Tensor mask = at::arange(kSlots).unsqueeze(0).lt(particles.unsqueeze(1));
  const at::Tensor real = mask.unsqueeze(2);
  Batch batch;
  batch.tensors.set("points", test::normal_of_samples(share, {kSlots, 2}, 1).mul(real).to(type));
  batch.tensors.set("features", test::normal_of_samples(share, {kSlots, kFeatures}, 2).mul(real).to(type));
  batch.tensors.set("mask", mask);
  batch.tensors.set("label", ids.remainder(2));
  batch.tensors.set("energy", (40 + 10 * ids.remainder(5)).to(type));
  batch.tensors.set("weight", (ids.remainder(3) + 1).to(type));
  batch.sample_ids = ids;
  batch.global_samples = share.total;
  return batch;
}

/// A small network of either kind: blocks that keep their width and such that change it.
ParticleNetOptions small_options() {
  return {.num_features = kFeatures,
          .num_classes = 2,
          .blocks = {{2, {4, 4, 4}}, {3, {4, 5, 6}}, {2, {6, 6, 6}}},
          .hidden = 8,
          .dropout = 0.25};
}

/// Of the classes, and of the energy where the network estimates it.
nn::Objective objective_of(const ParticleNetOptions& options) {
  if (options.heads.empty()) return train::classification();
  train::RegressionTarget energy{.output = "energy", .target = "energy", .scale = 14};
  if (options.heads.front().own_width) {
    energy.loss = train::RegressionLoss::gaussian;
    energy.width = "energy_width";
  }
  return train::heads({{"flavour", train::classification()}, {"energy", train::regression(energy), 0.5}});
}

/// One network in training. By gradients as they are: Adam would blow up the rounding of those that are zero.
struct Training {
  ParticleNet model;
  nn::Objective objective;
  parallel::DataParallel parallel;
  optim::Sgd optimizer;

  Training(const ParticleNetOptions& options, at::ScalarType type, comm::Communicator communicator)
      : model(options),
        objective(objective_of(options)),
        parallel((model->to(type), model), std::move(communicator), {.sync_batch_norm = true}),
        optimizer(parallel, {.learning_rate = 0.1, .momentum = 0.9}) {}

  /// One pass over a share; its mean loss.
  double pass(const Batch& batch, int step, parallel::PassOptions counts) {
    return enqueue_pass(batch, step, counts).values().front();
  }
  device::LateCopy enqueue_pass(const Batch& batch, int step, parallel::PassOptions counts) {
    const nn::StepContext context(kSeed, step, batch.sample_ids);
    const auto result = parallel.run({.batch = batch,
                                      .objective = objective,
                                      .global_samples = counts.global_samples,
                                      .first = counts.zero_first,
                                      .last = counts.last});
    if (counts.last) parallel.finish();
    return device::LateCopy(result.losses.total);
  }
};

struct Variant {
  std::string name;
  ParticleNetOptions options;
};

void PrintTo(const Variant& variant, std::ostream* stream) { *stream << variant.name; }

std::vector<Variant> variants() {
  std::vector<Variant> all;
  const auto add = [&](std::string name, auto&& change) {
    ParticleNetOptions options = small_options();
    change(options);
    all.push_back({std::move(name), options});
  };
  add("Published", [](auto&) {});
  add("Recompute", [](auto& options) { options.recompute = true; });
  add("RealRows", [](auto& options) { options.batch_norm_rows = BatchNormRows::real; });
  add("RecomputeRealRows", [](auto& options) {
    options.recompute = true;
    options.batch_norm_rows = BatchNormRows::real;
  });
  add("KerasPadding", [](auto& options) { options.padding = PaddingRule::keras; });
  add("KerasPaddingRealRows", [](auto& options) {
    options.padding = PaddingRule::keras;
    options.batch_norm_rows = BatchNormRows::real;
  });
  add("Fusion", [](auto& options) { options.fusion = true; });
  add("TwoHeads", [](auto& options) { options.heads = {{.name = "energy", .mean = 60, .width = 14}}; });
  add("OwnWidth", [](auto& options) {
    options.heads = {{.name = "energy", .mean = 60, .width = 14, .own_width = true}};
  });
  return all;
}

class ParticleNetSharesTest : public test::ShareTest, public testing::WithParamInterface<Variant> {};

TEST_P(ParticleNetSharesTest, RanksWithoutJetsEqualOneRank) {
  Training together(GetParam().options, at::kDouble, communicator_);
  Training alone(GetParam().options, at::kDouble, comm::Communicator::self());
  for (int step = 0; step < 4; ++step) {
    const Share mine = share(step), all = whole(step);
    const double loss = mean_over_ranks(
        together.pass(make_batch(mine, at::kDouble), step, {.global_samples = mine.total}), mine);
    const double expected = alone.pass(make_batch(all, at::kDouble), step, {.global_samples = all.total});
    EXPECT_NEAR(loss, expected, 1e-12) << "step " << step;
    together.optimizer.step({.clip_norm = 1});
    alone.optimizer.step({.clip_norm = 1});
  }
  test::expect_same_state(*together.model, *alone.model, 1e-12);
  expect_same_on_all_ranks(together.parallel.arenas()[0].values());
}

TEST_P(ParticleNetSharesTest, PassesWithoutJetsOfAnAccumulatedStepEqualOneRank) {
  Training together(GetParam().options, at::kDouble, communicator_);
  Training alone(GetParam().options, at::kDouble, comm::Communicator::self());
  constexpr int kPasses = 3;
  for (int step = 0; step < 2; ++step) {
    std::int64_t samples = 0;
    for (int pass = 0; pass < kPasses; ++pass) samples += whole(step * kPasses + pass).total;
    for (int pass = 0; pass < kPasses; ++pass) {
      const int turn = step * kPasses + pass;
      const parallel::PassOptions counts = {
          .global_samples = samples, .last = pass == kPasses - 1, .zero_first = pass == 0};
      together.pass(make_batch(share(turn), at::kDouble), step, counts);
      alone.pass(make_batch(whole(turn), at::kDouble), step, counts);
    }
    together.optimizer.step();
    alone.optimizer.step();
  }
  test::expect_same_state(*together.model, *alone.model, 1e-12);
}

/// float32, and bfloat16 edges under autocast.
TEST_P(ParticleNetSharesTest, EveryPrecisionTakesRanksWithoutJets) {
  for (const auto precision : {device::Precision::float32, device::Precision::bfloat16}) {
    Training together(GetParam().options, at::kFloat, communicator_);
    for (int step = 0; step < 2; ++step) {
      const Share mine = share(step);
      const device::PrecisionGuard guard(precision, c10::DeviceType::CPU);
      const double loss = mean_over_ranks(
          together.pass(make_batch(mine, at::kFloat), step, {.global_samples = mine.total}), mine);
      EXPECT_TRUE(std::isfinite(loss));
      together.optimizer.step();
    }
    EXPECT_TRUE(together.parallel.arenas()[0].values().isfinite().all().item<bool>());
    expect_same_on_all_ranks(together.parallel.arenas()[0].values());
  }
}

TEST_P(ParticleNetSharesTest, AStepTakesNoNumberOffATensor) {
  for (const auto precision : {device::Precision::float32, device::Precision::bfloat16}) {
    Training training(GetParam().options, at::kFloat, communicator_);
    for (int step = 0; step < 3; ++step) {
      const Batch batch = make_batch(share(step), at::kFloat);
      const device::PrecisionGuard guard(precision, c10::DeviceType::CPU);
      const test::HostReads reads;
      const auto loss = training.enqueue_pass(batch, step, {.global_samples = share(step).total});
      const auto report = training.optimizer.step({.clip_norm = 1, .check_finite = true});
      EXPECT_THAT(reads.names(), testing::IsEmpty()) << "step " << step;
      EXPECT_GT(report.gradient_norm(), 0);
      EXPECT_EQ(loss.values().size(), 1U);
    }
  }
}

TEST_F(ShareTest, TheCounterOfReadsSeesThem) {
  const at::Tensor values = at::arange(3, at::kDouble);
  const test::HostReads reads;
  static_cast<void>(values.sum().item<double>());
  static_cast<void>(values.index({values > 1}));
  EXPECT_THAT(reads.names(),
              testing::IsSupersetOf({"aten::item", "aten::_local_scalar_dense", "aten::nonzero"}));
}

INSTANTIATE_TEST_SUITE_P(Variants, ParticleNetSharesTest, testing::ValuesIn(variants()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace bunchtrain::models
