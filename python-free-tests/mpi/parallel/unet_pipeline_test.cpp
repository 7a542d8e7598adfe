// SPDX-License-Identifier: Apache-2.0
// The U-Net of calo-diffusion in stages against one rank, in float64: skips over many units, attention, keyed noise.
#include <ATen/ops/arange.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include "bunchtrain/comm/mesh.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/parallel/pipeline_parallel.hpp"
#include "parallel_fixture.hpp"

namespace bunchtrain::parallel {
namespace {

constexpr std::int64_t kSamples = 6;
constexpr int kMicrobatches = 4;

Batch showers() {
  torch::manual_seed(11);
  const at::Tensor raw = at::rand({kSamples, 6, 5, 7}, at::kDouble),
                   energy = at::rand({kSamples}, at::kDouble) + 1;
  Batch batch;
  batch.tensors = {{"image", at::where(raw > 0.5, raw, at::zeros_like(raw)) * energy.view({-1, 1, 1, 1})},
                   {"energy", energy}};
  batch.sample_ids = at::arange(100, 100 + kSamples);
  batch.global_samples = kSamples;
  return batch;
}

models::CaloDiffusion network() {
  models::CaloDiffusion network(models::CaloDiffusionOptions{.cells = {6, 5, 7}, .channels = {8, 16, 16}});
  const Batch some = showers();
  network->set_normalisation(models::ShowerNormalisation::fit(some["image"], some["energy"]));
  network->to(at::kDouble);
  const at::NoGradGuard no_gradients;  // the last layers begin as zeros: nothing would flow back
  for (at::Tensor& parameter : network->parameters())
    if (parameter.abs().max().item<double>() == 0) parameter.fill_(0.05);
  return network;
}

nn::Losses objective(const NamedTensors& outputs, const Batch& /*batch*/) {
  return nn::Losses((outputs["cells"] - outputs["cells_target"]).square().mean() +
                    (outputs["layers"] - outputs["layers_target"]).square().mean());
}

class UnetPipelineTest : public ParallelTest, public testing::WithParamInterface<PipelineKind> {};

TEST_P(UnetPipelineTest, EqualsOneRank) {
  comm::Mesh mesh(communicator_, comm::MeshShape::parse("pipeline=" + std::to_string(world()), world()));
  const Batch batch = showers();
  models::CaloDiffusion whole = network();
  DataParallel alone(whole, comm::Communicator::self());
  PipelineParallel pipeline(network(), mesh,
                            {.kind = GetParam(), .microbatches = kMicrobatches, .example = batch.tensors});
  optim::AdamW alone_optimizer(alone, {.learning_rate = 1e-3}), optimizer(pipeline, {.learning_rate = 1e-3});
  for (std::int64_t step = 0; step < 3; ++step) {
    double expected = 0;
    for (int i = 0; i < kMicrobatches; ++i) {
      const std::int64_t begin = kSamples * i / kMicrobatches, end = kSamples * (i + 1) / kMicrobatches;
      const Batch part = slice_samples(batch, begin, end);
      const nn::StepContext context(2, step, part.sample_ids);
      const PassResult result = alone.run({.batch = part,
                                           .objective = objective,
                                           .global_samples = kSamples,
                                           .first = i == 0,
                                           .last = i + 1 == kMicrobatches});
      expected += result.losses.total.item<double>() * static_cast<double>(end - begin) / kSamples;
    }
    alone.finish();
    const nn::StepContext context(2, step, batch.sample_ids);
    const PassResult found =
        pipeline.run({.batch = batch, .objective = objective, .global_samples = kSamples});
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
