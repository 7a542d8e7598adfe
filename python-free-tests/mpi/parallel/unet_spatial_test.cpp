// SPDX-License-Identifier: Apache-2.0
// The U-Net of calo-diffusion on slabs, alone and beside replicas, against one rank, in float64.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "bunchtrain/comm/mesh.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "parallel_fixture.hpp"
#include "small_unet.hpp"

namespace bunchtrain::parallel {
namespace {

constexpr std::int64_t kSamples = 4;

struct Slabs {
  std::string along;  ///< axes
  int ranks;
};
void PrintTo(const Slabs& slabs, std::ostream* stream) { *stream << slabs.along; }

class UnetSpatialTest : public ParallelTest, public testing::WithParamInterface<Slabs> {};

/// Replicas of as many slabs as the parameter says, if the ranks allow it.
TEST_P(UnetSpatialTest, ThreeUpdatesEqualOneRank) {
  const auto& [along, slabs] = GetParam();
  if (world() % slabs != 0) return;
  comm::Mesh mesh(communicator_, comm::MeshShape::parse("spatial=" + along, world()));
  const int replicas = mesh.size(comm::Axis::data), replica = mesh.coordinate(comm::Axis::data);
  const Batch batch = small_showers(kSamples, 15);
  const Batch mine = slice_samples(batch, kSamples * replica / replicas, kSamples * (replica + 1) / replicas);
  models::CaloDiffusion whole = small_unet(15), cut = small_unet(15);
  DataParallel alone(whole, comm::Communicator::self());
  DataParallel together(cut, communicator_,
                        {.spatial = mesh.axis(comm::Axis::spatial), .slabs = mesh.shape().slabs()});
  optim::AdamW alone_optimizer(alone, {.learning_rate = 1e-3}), optimizer(together, {.learning_rate = 1e-3});
  for (std::int64_t step = 0; step < 3; ++step) {
    const auto pass = [&](DataParallel& engine, const Batch& part) {
      const nn::StepContext context(2, step, part.sample_ids);
      const PassResult result =
          engine.run({.batch = part, .objective = denoising_losses, .global_samples = kSamples});
      engine.finish();
      return result.losses.total * static_cast<double>(part.size());
    };
    const at::Tensor expected = pass(alone, batch);
    at::Tensor found = pass(together, mine);
    communicator_.all_reduce(found).wait();
    expect_close(found / slabs, expected, 1e-10);
    expect_same_gradients(*cut, *whole, 1e-10);
    optimizer.step();
    alone_optimizer.step();
    expect_same_parameters(*cut, *whole, 1e-9);
  }
  mesh.close();
}

INSTANTIATE_TEST_SUITE_P(Slabs, UnetSpatialTest,
                         testing::Values(Slabs{"1", 1}, Slabs{"2", 2}, Slabs{"3", 3}, Slabs{"4", 4},
                                         Slabs{"1x2", 2}, Slabs{"1x1x2", 2}, Slabs{"2x2", 4},
                                         Slabs{"1x2x2", 4}));

TEST_F(ParallelTest, SpatialRanksBeyondTheCellsAreRefusedByAll) {
  if (world() < 3) return;
  models::CaloDiffusion small(models::CaloDiffusionOptions{.cells = {7, 5, 7}, .channels = {8, 16, 16}});
  EXPECT_THAT(refusal([&] { DataParallel(small, communicator_, {.spatial = communicator_}); }),
              testing::HasSubstr("an axis of 8 cells, cut at multiples of 4 only, cannot be cut into"));
  EXPECT_THAT(refusal([&] {
                DataParallel(small, communicator_, {.spatial = communicator_, .slabs = {1, world(), 1}});
              }),
              testing::HasSubstr("while images are cut along y"));
}

}  // namespace
}  // namespace bunchtrain::parallel
