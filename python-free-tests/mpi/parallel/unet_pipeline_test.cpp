// SPDX-License-Identifier: Apache-2.0
// The U-Net of calo-diffusion in stages against one rank, in float64: skips over many units, attention, keyed noise.
#include <ATen/ops/ones_like.h>
#include <gtest/gtest.h>

#include "bunchtrain/comm/mesh.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/parallel/pipeline_parallel.hpp"
#include "parallel_fixture.hpp"
#include "small_unet.hpp"

namespace bunchtrain::parallel {
namespace {

constexpr std::int64_t kSamples = 6;
constexpr int kMicrobatches = 4;

class UnetPipelineTest : public ParallelTest, public testing::WithParamInterface<PipelineKind> {};

TEST_P(UnetPipelineTest, EqualsOneRank) {
  comm::Mesh mesh(communicator_, comm::MeshShape::parse("pipeline=" + std::to_string(world()), world()));
  const Batch batch = small_showers(kSamples, 6);
  models::CaloDiffusion whole = small_unet(6);
  DataParallel alone(whole, comm::Communicator::self());
  PipelineParallel pipeline(small_unet(6), mesh,
                            {.kind = GetParam(), .microbatches = kMicrobatches, .example = batch.tensors});
  optim::AdamW alone_optimizer(alone, {.learning_rate = 1e-3}), optimizer(pipeline, {.learning_rate = 1e-3});
  for (std::int64_t step = 0; step < 3; ++step) {
    double expected = 0;
    for (int i = 0; i < kMicrobatches; ++i) {
      const std::int64_t begin = kSamples * i / kMicrobatches, end = kSamples * (i + 1) / kMicrobatches;
      const Batch part = slice_samples(batch, begin, end);
      const nn::StepContext context(2, step, part.sample_ids);
      const PassResult result = alone.run({.batch = part,
                                           .objective = denoising_losses,
                                           .global_samples = kSamples,
                                           .first = i == 0,
                                           .last = i + 1 == kMicrobatches});
      expected += result.losses.total.item<double>() * static_cast<double>(end - begin) / kSamples;
    }
    alone.finish();
    const nn::StepContext context(2, step, batch.sample_ids);
    const PassResult found =
        pipeline.run({.batch = batch, .objective = denoising_losses, .global_samples = kSamples});
    pipeline.finish();
    EXPECT_NEAR(found.losses.total.item<double>(), expected, 1e-10);
    const auto theirs = whole->named_parameters();
    for (const auto& parameter : pipeline.module().named_parameters())
      expect_close(parameter.value().grad(), theirs[parameter.key()].grad(), 1e-10);
    optimizer.step();
    alone_optimizer.step();
  }
  mesh.close();
}

INSTANTIATE_TEST_SUITE_P(Schedules, UnetPipelineTest,
                         testing::Values(PipelineKind::one_f_one_b, PipelineKind::zero_bubble_h1,
                                         PipelineKind::zero_bubble_v),
                         [](const auto& info) {
                           std::string name(to_string(info.param));
                           std::erase(name, '-');
                           return "_" + name;
                         });

}  // namespace
}  // namespace bunchtrain::parallel
