// SPDX-License-Identifier: Apache-2.0
/// 3DGAN's step on ranks without showers, with synchronised batch norm, and on slabs, against one rank.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string>

#include "bunchtrain/comm/mesh.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_gan_step.hpp"
#include "shares.hpp"
#include "support/host_reads.hpp"

namespace bunchtrain::shower_simulation {
namespace {

using models::ShowerVariant;
using test::Share;

constexpr std::uint64_t kSeed = 7;

/// Images of noise above zero, energies from 20 to 90 GeV.
Batch make_batch(const Share& share, ShowerVariant variant, at::ScalarType type) {
  const auto [x, y, z] = models::shower_shape(variant);
  const at::Tensor ids = test::ids_of(share);
  const at::Tensor image = test::normal_of_samples(share, {x, y, z}, 1).clamp_min(0).mul(0.01).to(type);
  Batch batch;
  batch.tensors.set("image", image);
  batch.tensors.set("energy", (ids.remainder(8) + 2).to(type) * 10);
  batch.tensors.set("sum", image.flatten(1).sum(1));
  batch.tensors.set("theta", ids.to(type) * 0.1 + 1);
  batch.tensors.set("measured_theta", ids.to(type) * 0.1 + 1.05);
  batch.sample_ids = ids;
  batch.global_samples = share.total;
  return batch;
}

/// Both networks in training.
struct Gan {
  models::ShowerGenerator generator;
  models::ShowerDiscriminator discriminator;
  parallel::DataParallel g, d;
  optim::Rmsprop g_optimizer, d_optimizer;
  ShowerGanStep step;

  Gan(ShowerVariant variant, at::ScalarType type, const comm::Communicator& communicator, bool sync,
      const std::optional<comm::Communicator>& spatial = {}, const std::array<int, 3>& slabs = {})
      : generator({.variant = variant}),
        discriminator({.variant = variant, .bin_counts = variant == ShowerVariant::variable_angle}),
        g((generator->to(type), generator), communicator,
          {.sync_batch_norm = sync, .spatial = spatial, .slabs = slabs}),
        d((discriminator->to(type), discriminator), communicator,
          {.sync_batch_norm = sync, .spatial = spatial, .slabs = slabs}),
        g_optimizer(g, {.learning_rate = 1e-4}),
        d_optimizer(d, {.learning_rate = 1e-4}),
        step({generator, &g, &g_optimizer}, {discriminator, &d, &d_optimizer},
             {.weights = models::ShowerLossWeights::published(variant),
              .generator_updates = 1,
              .response = EnergyResponse::published()}) {}

  std::vector<train::LossTerm> run(const Batch& batch, int number) { return enqueue(batch, number).values(); }
  train::LossTerms enqueue(const Batch& batch, int number) {
    const nn::StepContext context(kSeed, number, batch.sample_ids);
    return step(batch);
  }
};

/// One shower, on the last rank and the first by turns: images are large.
Share single(int number, int rank, int world) {
  const int owner = number % 2 == 0 ? world - 1 : 0;
  return {number, rank == owner ? 1 : 0, 1};
}

struct Case {
  ShowerVariant variant;
  at::ScalarType type;  ///< float64 takes seconds for each shower
  int steps;
  double tolerance;
};

void PrintTo(const Case& one, std::ostream* stream) { *stream << models::to_string(one.variant); }

class ShowerGanSharesTest : public test::ShareTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override { device::keep_freed_memory(); }
};

TEST_P(ShowerGanSharesTest, RanksWithoutShowersEqualOneRank) {
  const auto [variant, type, steps, tolerance] = GetParam();
  Gan together(variant, type, communicator_, /*sync=*/true);
  std::vector<std::vector<double>> losses;
  for (int number = 0; number < steps; ++number) {
    const Share mine = single(number, rank(), world());
    auto& of_step = losses.emplace_back();
    for (const auto& term : together.run(make_batch(mine, variant, type), number))
      of_step.push_back(mean_over_ranks(term.value, mine));
  }
  expect_same_on_all_ranks(together.g.arenas()[0].values());
  expect_same_on_all_ranks(together.d.arenas()[0].values());
  if (rank() != 0) return;  // one reference is enough: all ranks hold the same

  Gan alone(variant, type, comm::Communicator::self(), /*sync=*/false);
  for (int number = 0; number < steps; ++number) {
    const auto expected = alone.run(make_batch({number, 1, 1}, variant, type), number);
    const auto& found = losses[static_cast<std::size_t>(number)];
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(found[i], expected[i].value, tolerance * std::max(1.0, std::abs(expected[i].value)))
          << expected[i].name << ", step " << number;
  }
  test::expect_same_state(*together.generator, *alone.generator, tolerance);
  test::expect_same_state(*together.discriminator, *alone.discriminator, tolerance);
}

TEST_P(ShowerGanSharesTest, LocalStatisticsOfRanksWithoutShowersStayFinite) {
  const auto variant = GetParam().variant;
  Gan gan(variant, at::kFloat, communicator_, /*sync=*/false);
  const Share mine = single(0, rank(), world());
  for (const auto& term : gan.run(make_batch(mine, variant, at::kFloat), 0))
    EXPECT_TRUE(std::isfinite(mean_over_ranks(term.value, mine))) << term.name;
  gan.g.synchronize_buffers(mine.count);
  gan.d.synchronize_buffers(mine.count);
  for (const auto& buffer : gan.generator->buffers()) EXPECT_TRUE(buffer.isfinite().all().item<bool>());
  for (const auto& buffer : gan.discriminator->buffers()) EXPECT_TRUE(buffer.isfinite().all().item<bool>());
  expect_same_on_all_ranks(gan.g.arenas()[0].values());
}

TEST_P(ShowerGanSharesTest, AStepTakesNoNumberOffATensor) {
  const auto [variant, type, steps, tolerance] = GetParam();
  if (type != at::kFloat) return;  // as float32, and slower
  Gan gan(variant, type, communicator_, /*sync=*/true);
  const Batch batch = make_batch(single(0, rank(), world()), variant, type);
  const test::HostReads reads;
  const train::LossTerms terms = gan.enqueue(batch, 0);
  EXPECT_THAT(reads.names(), testing::IsEmpty());
  EXPECT_GE(terms.values().size(), 3 * 3U);
}

struct SlabsCase {
  Case gan;
  int world;  ///< the only one, for the seconds of its steps
  std::string mesh;
};

void PrintTo(const SlabsCase& one, std::ostream* stream) { *stream << one.mesh; }

class ShowerGanSlabsTest : public test::ShareTest, public testing::WithParamInterface<SlabsCase> {
 protected:
  void SetUp() override { device::keep_freed_memory(); }
};

TEST_P(ShowerGanSlabsTest, SlabsEqualOneRank) {
  if (world() != GetParam().world) return;
  const auto [variant, type, steps, tolerance] = GetParam().gan;
  comm::Mesh mesh(communicator_, comm::MeshShape::parse(GetParam().mesh, world()));
  const int slabs = mesh.size(comm::Axis::spatial);
  const std::int64_t replicas = mesh.size(comm::Axis::data), replica = mesh.coordinate(comm::Axis::data);
  Gan together(variant, type, communicator_, /*sync=*/replicas > 1, mesh.axis(comm::Axis::spatial),
               mesh.shape().slabs());
  std::vector<std::vector<double>> losses;
  for (int number = 0; number < steps; ++number) {
    const Share mine{number * replicas + replica, 1, replicas};
    auto& of_step = losses.emplace_back();
    for (const auto& term : together.run(make_batch(mine, variant, type), number))
      of_step.push_back(mean_over_ranks(term.value, mine) / slabs);
  }
  expect_same_on_all_ranks(together.g.arenas()[0].values());
  expect_same_on_all_ranks(together.d.arenas()[0].values());
  mesh.close();
  if (rank() != 0) return;

  Gan alone(variant, type, comm::Communicator::self(), /*sync=*/false);
  for (int number = 0; number < steps; ++number) {
    const auto expected =
        alone.run(make_batch({number * replicas, replicas, replicas}, variant, type), number);
    const auto& found = losses[static_cast<std::size_t>(number)];
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(found[i], expected[i].value, tolerance * std::max(1.0, std::abs(expected[i].value)))
          << expected[i].name << ", step " << number;
  }
  test::expect_same_state(*together.generator, *alone.generator, tolerance);
  test::expect_same_state(*together.discriminator, *alone.discriminator, tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Variants, ShowerGanSlabsTest,
    testing::Values(SlabsCase{{ShowerVariant::variable_angle, at::kDouble, 1, 1e-9}, 2, "spatial=1x2"},
                    SlabsCase{{ShowerVariant::fixed_angle, at::kDouble, 3, 1e-9}, 4, "spatial=2x2"},
                    SlabsCase{{ShowerVariant::fixed_angle, at::kDouble, 1, 1e-9}, 4, "data=2,spatial=2"}));

INSTANTIATE_TEST_SUITE_P(Variants, ShowerGanSharesTest,
                         testing::Values(Case{ShowerVariant::fixed_angle, at::kDouble, 1, 1e-12},
                                         Case{ShowerVariant::fixed_angle, at::kFloat, 2, 1e-5},
                                         Case{ShowerVariant::variable_angle, at::kFloat, 2, 1e-5}));

}  // namespace
}  // namespace bunchtrain::shower_simulation
