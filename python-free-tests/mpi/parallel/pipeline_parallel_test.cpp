// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/parallel/pipeline_parallel.hpp"

#include <ATen/ops/cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/utils.h>

#include <tuple>

#include "bunchtrain/comm/mesh.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/dropout.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/nn/unit.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "parallel_fixture.hpp"

namespace bunchtrain::parallel {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kWidth = 6;

/// A small U: skips from the front to the back, batch norm, dropout, a unit without parameters, one that reads an input of the
/// network late, a second output made in the middle.
struct SmallUImpl : torch::nn::Module, nn::UnitModel {
  SmallUImpl() {
    embed = register_module("embed", torch::nn::Linear(5, kWidth));
    for (auto* list : {&down, &up}) {
      for (int i = 0; i < 3; ++i) {
        const std::string name = (list == &down ? "down" : "up") + std::to_string(i);
        list->push_back(register_module(name, torch::nn::Linear(kWidth, kWidth)));
      }
    }
    norm = register_module("norm", nn::BatchNorm(nn::BatchNormOptions{.channels = kWidth}));
    dropout = register_module("dropout", nn::Dropout(nn::DropoutOptions{.probability = 0.25, .site = 3}));
    side = register_module("side", torch::nn::Linear(kWidth, 1));
    head = register_module("head", torch::nn::Linear(kWidth, 2));
    to(torch::kFloat64);
  }

  std::vector<std::string> input_names() const override { return {"x", "late"}; }
  std::vector<std::string> output_names() const override { return {"y", "side"}; }
  std::vector<nn::Unit> units() override {
    std::vector<nn::Unit> list = {nn::unit("embed", embed, "x", "h0")};
    for (int i = 0; i < 3; ++i)
      list.push_back(
          tanh_of("down" + std::to_string(i), down[i], "h" + std::to_string(i), "h" + std::to_string(i + 1)));
    list.push_back(nn::unit("norm", norm, "h3", "n"));
    list.push_back(nn::unit("side", side, "n", "side"));
    list.push_back(nn::unit("dropout", dropout, "n", "u0"));
    for (int i = 0; i < 3; ++i) {
      const std::string number = std::to_string(i);
      list.push_back(
          {.name = "skip" + number,
           .reads = {"u" + number, "h" + std::to_string(2 - i)},
           .writes = {"s" + number},
           .forward = [](const std::vector<at::Tensor>& in) { return std::vector{in[0] + in[1]}; }});
      list.push_back(tanh_of("up" + number, up[i], "s" + number, "u" + std::to_string(i + 1)));
    }
    list.push_back({.name = "late",
                    .reads = {"u3", "late"},
                    .writes = {"l"},
                    .forward = [](const std::vector<at::Tensor>& in) { return std::vector{in[0] * in[1]}; }});
    list.push_back(nn::unit("head", head, "l", "y"));
    return list;
  }

  static nn::Unit tanh_of(std::string name, torch::nn::Linear layer, std::string reads, std::string writes) {
    nn::Unit unit = nn::unit(std::move(name), layer, std::move(reads), std::move(writes));
    unit.forward = [layer](const std::vector<at::Tensor>& in) mutable {
      return std::vector{layer->forward(in[0]).tanh()};
    };
    return unit;
  }

  torch::nn::Linear embed{nullptr}, side{nullptr}, head{nullptr};
  std::vector<torch::nn::Linear> down, up;
  nn::BatchNorm norm{nullptr};
  nn::Dropout dropout{nullptr};
};
TORCH_MODULE(SmallU);

Batch batch_of(std::int64_t begin, std::int64_t size) {
  Batch batch;
  batch.tensors = {
      {"x", rows(begin, size)}, {"late", rows(begin + 7, size, kWidth)}, {"target", rows(begin, size, 2)}};
  batch.sample_ids = at::arange(begin, begin + size, at::kLong);
  batch.global_samples = size;
  return batch;
}

nn::Losses objective(const NamedTensors& outputs, const Batch& batch) {
  if (batch.size() == 0) return nn::Losses(outputs["y"].sum() + outputs["side"].sum());
  const at::Tensor shape = (outputs["y"] - batch["target"]).square().mean();
  const at::Tensor side = outputs["side"].square().mean();
  return {shape + 0.3 * side, {{"shape", shape}, {"side", side}}};
}

struct Case {
  PipelineKind kind;
  int stages_per_rank;
  int microbatches;
};

std::string name_of(const testing::TestParamInfo<Case>& info) {
  std::string name(to_string(info.param.kind));
  std::erase(name, '-');
  return name + "_" + std::to_string(info.param.stages_per_rank) + "_" +
         std::to_string(info.param.microbatches);
}

class PipelineTest : public ParallelTest {
 protected:
  static SmallU net(std::uint64_t seed = 1) {
    torch::manual_seed(seed);
    return SmallU();
  }
  comm::Mesh mesh(const std::string& text) {
    return comm::Mesh(communicator_, comm::MeshShape::parse(text, world()));
  }
  comm::Mesh one_pipeline() { return mesh("pipeline=" + std::to_string(world())); }

  void TearDown() override {
    for (auto& mesh : meshes_) mesh.close();
    ParallelTest::TearDown();
  }
  std::vector<comm::Mesh> meshes_;
};

/// The same microbatches one after another, on this rank alone.
PassResult run_alone(DataParallel& alone, const Batch& batch, int microbatches, std::int64_t step) {
  PassResult last;
  double total = 0;
  for (int i = 0; i < microbatches; ++i) {
    const std::int64_t begin = batch.size() * i / microbatches, end = batch.size() * (i + 1) / microbatches;
    if (begin == end) continue;
    const Batch part = slice_samples(batch, begin, end);
    const nn::StepContext context(9, step, part.sample_ids);
    last = alone.run({.batch = part,
                      .objective = objective,
                      .global_samples = batch.size(),
                      .first = begin == 0,
                      .last = end == batch.size()});
    total += last.losses.total.item<double>() * static_cast<double>(end - begin) /
             static_cast<double>(batch.size());
  }
  alone.finish();
  last.losses.total = at::scalar_tensor(total, at::kDouble);
  return last;
}

void expect_same_stages(torch::nn::Module& ours, torch::nn::Module& whole, bool gradients) {
  const auto expected = whole.named_parameters();
  for (const auto& item : ours.named_parameters()) {
    const at::Tensor& theirs = expected[item.key()];
    expect_close(gradients ? item.value().grad() : item.value(), gradients ? theirs.grad() : theirs, 1e-10);
  }
  const auto buffers = whole.named_buffers();
  for (const auto& item : ours.named_buffers())
    expect_close(item.value().to(at::kDouble), buffers[item.key()].to(at::kDouble), 1e-10);
}

class EveryPipelineTest : public PipelineTest, public testing::WithParamInterface<Case> {};

TEST_P(EveryPipelineTest, EqualsOneRankWithTheSameMicrobatches) {
  SmallU whole = net(), spread = net(rank() + 1);
  DataParallel alone(whole, comm::Communicator::self());
  optim::AdamW alone_optimizer(alone, {.learning_rate = 0.02});
  const comm::Mesh ranks = one_pipeline();
  const auto [kind, per_rank, microbatches] = GetParam();
  torch::manual_seed(1);
  PipelineParallel pipeline(net(), ranks,
                            {.kind = kind, .microbatches = microbatches, .stages_per_rank = per_rank});
  optim::AdamW optimizer(pipeline, {.learning_rate = 0.02});
  for (int step = 0; step < 3; ++step) {
    const Batch batch = batch_of(40 * step, 13 - step);
    const PassResult expected = run_alone(alone, batch, microbatches, step);
    const nn::StepContext context(9, step, batch.sample_ids);
    const PassResult found =
        pipeline.run({.batch = batch, .objective = objective, .global_samples = batch.size()});
    pipeline.finish();
    EXPECT_NEAR(found.losses.total.item<double>(), expected.losses.total.item<double>(), 1e-12);
    EXPECT_TRUE(found.losses.terms.contains("side"));
    expect_same_stages(pipeline.module(), *whole, /*gradients=*/true);
    EXPECT_NEAR(pipeline.gradient_norm().item<double>(), alone.gradient_norm().item<double>(), 1e-10);
    optimizer.step({.clip_norm = 0.1, .gradient_norm = pipeline.gradient_norm()});
    alone_optimizer.step({.clip_norm = 0.1});
    expect_same_stages(pipeline.module(), *whole, /*gradients=*/false);
  }
  meshes_.push_back(ranks);
}

INSTANTIATE_TEST_SUITE_P(Schedules, EveryPipelineTest,
                         testing::Values(Case{PipelineKind::gpipe, 1, 4},
                                         Case{PipelineKind::one_f_one_b, 1, 5},
                                         Case{PipelineKind::interleaved, 2, 12},
                                         Case{PipelineKind::zero_bubble_h1, 1, 6},
                                         Case{PipelineKind::zero_bubble_v, 2, 7}),
                         name_of);

TEST_F(PipelineTest, ReplicasOfPipelinesShareTheBatch) {
  if (world() != 4) GTEST_SKIP() << "needs four ranks";
  for (const bool statistics_of_all : {false, true}) {
    const comm::Mesh ranks = mesh("data=2,pipeline=2");
    PipelineParallel pipeline(net(), ranks, {.microbatches = 2, .sync_batch_norm = statistics_of_all});
    SmallU whole = net();
    DataParallel replica(whole, comm::Mesh(ranks).axis(comm::Axis::data),
                         {.sync_batch_norm = statistics_of_all});
    const int replica_index = ranks.coordinate(comm::Axis::data);
    const Batch batch = batch_of(replica_index == 0 ? 0 : 5, replica_index == 0 ? 5 : 8);
    for (int i = 0; i < 2; ++i) {
      const std::int64_t begin = batch.size() * i / 2, end = batch.size() * (i + 1) / 2;
      const Batch part = slice_samples(batch, begin, end);
      const nn::StepContext context(9, 0, part.sample_ids);
      replica.run(
          {.batch = part, .objective = objective, .global_samples = 13, .first = i == 0, .last = i == 1});
    }
    replica.finish();
    const nn::StepContext context(9, 0, batch.sample_ids);
    pipeline.run({.batch = batch, .objective = objective, .global_samples = 13});
    pipeline.finish();
    expect_same_stages(pipeline.module(), *whole, /*gradients=*/true);
    meshes_.push_back(ranks);
  }
}

TEST_F(PipelineTest, WhatItEvaluatesIsKnownToAllRanks) {
  const comm::Mesh ranks = one_pipeline();
  SmallU whole = net();
  PipelineParallel pipeline(net(), ranks, {.microbatches = 3});
  whole->eval();
  pipeline.module().eval();
  const Batch batch = batch_of(3, 8);
  const Evaluation found = pipeline.evaluate(batch, objective);
  const NamedTensors expected = whole->forward(batch.tensors);
  EXPECT_NEAR(found.losses.total.item<double>(), objective(expected, batch).total.item<double>(), 1e-12);
  EXPECT_TRUE(pipeline.has_outputs());
  EXPECT_EQ(found.outputs.size(), 2U);
  for (const auto& [name, tensor] : found.outputs) expect_close(tensor, expected[name]);
  meshes_.push_back(ranks);
}

TEST_F(PipelineTest, FewerSamplesThanMicrobatches) {
  const comm::Mesh ranks = one_pipeline();
  SmallU whole = net();
  DataParallel alone(whole, comm::Communicator::self());
  PipelineParallel pipeline(net(), ranks, {.microbatches = 5});
  const Batch batch = batch_of(2, 3);
  run_alone(alone, batch, 5, 0);
  const nn::StepContext context(9, 0, batch.sample_ids);
  pipeline.run({.batch = batch, .objective = objective, .global_samples = 3});
  pipeline.finish();
  expect_same_stages(pipeline.module(), *whole, /*gradients=*/true);
  meshes_.push_back(ranks);
}

TEST_F(PipelineTest, MeasuresUnitsForTheCut) {
  const comm::Mesh ranks = one_pipeline();
  PipelineParallel pipeline(net(), ranks, {.microbatches = 4, .example = batch_of(0, 4).tensors});
  EXPECT_EQ(pipeline.begins().front(), 0);
  EXPECT_EQ(pipeline.begins().back(), 15);
  const std::vector<std::string> cuts = communicator_.control().all_gather(pipeline.describe());
  for (const std::string& cut : cuts) EXPECT_EQ(cut, cuts.front());
  EXPECT_THAT(pipeline.describe(), HasSubstr("stage 0 on rank 0: embed"));
  meshes_.push_back(ranks);
}

TEST_F(PipelineTest, KeepsItsOwnStagesOnly) {
  const comm::Mesh ranks = one_pipeline();
  SmallU network = net();
  PipelineParallel pipeline(network, ranks, {.microbatches = 2});
  std::int64_t elements = 0;
  for (const auto& parameter : network->parameters()) elements += parameter.numel();
  std::int64_t ours = 0;
  for (const auto& parameter : pipeline.module().parameters()) ours += parameter.numel();
  EXPECT_EQ(elements, ours);
  EXPECT_EQ(communicator_.control().all_sum(ours), 5 * 6 + 6 + 6 * (36 + 6) + 12 + 7 + 14);
  meshes_.push_back(ranks);
}

/// Entries behind the last one of a microbatch are cut off, so that what passes between ranks has another shape each time.
struct RaggedNetImpl : torch::nn::Module, nn::UnitModel {
  RaggedNetImpl() {
    embed = register_module("embed", torch::nn::Linear(5, kWidth));
    for (int i = 0; i < 3; ++i)
      mix.push_back(register_module("mix" + std::to_string(i), torch::nn::Linear(kWidth, kWidth)));
    head = register_module("head", torch::nn::Linear(kWidth, 2));
    to(torch::kFloat64);
  }
  std::vector<std::string> input_names() const override { return {"x", "count"}; }
  std::vector<std::string> output_names() const override { return {"y"}; }
  std::vector<nn::Unit> units() override {
    std::vector<nn::Unit> list = {
        {.name = "trim",
         .reads = {"x", "count"},
         .writes = {"t", "there"},
         .forward =
             [](const std::vector<at::Tensor>& in) {
               const auto longest = in[1].max().item<std::int64_t>();
               const at::Tensor place = at::arange(longest, at::kLong);
               return std::vector{in[0].narrow(1, 0, longest), (place < in[1].unsqueeze(1)).to(at::kDouble)};
             }},
        nn::unit("embed", embed, "t", "h0")};
    for (int i = 0; i < 3; ++i)
      list.push_back(SmallUImpl::tanh_of("mix" + std::to_string(i), mix[i], "h" + std::to_string(i),
                                         "h" + std::to_string(i + 1)));
    list.push_back({.name = "pool",
                    .reads = {"h3", "there"},
                    .writes = {"p"},
                    .forward = [](const std::vector<at::Tensor>& in) {
                      return std::vector{(in[0] * in[1].unsqueeze(2)).sum(1)};
                    }});
    list.push_back(nn::unit("head", head, "p", "y"));
    return list;
  }
  torch::nn::Linear embed{nullptr}, head{nullptr};
  std::vector<torch::nn::Linear> mix;
};

Batch ragged_batch(std::int64_t size, std::int64_t step) {
  Batch batch;
  const at::Tensor number = at::arange(size, at::kLong);
  batch.tensors = {{"x", rows(step, size * 9, 5).view({size, 9, 5})},
                   {"count", (number * 5 + step) % 9 + 1},
                   {"target", rows(step, size, 2)}};
  batch.sample_ids = number;
  batch.global_samples = size;
  return batch;
}

nn::Losses squares(const NamedTensors& outputs, const Batch& batch) {
  return nn::Losses((outputs["y"] - batch["target"]).square().mean());
}

TEST_F(PipelineTest, MicrobatchesMayBeRagged) {
  const comm::Mesh ranks = one_pipeline();
  const auto make = [] {
    torch::manual_seed(4);
    return std::make_shared<RaggedNetImpl>();
  };
  const auto whole = make();
  PipelineParallel pipeline(make(), ranks, {.microbatches = 4, .dynamic_shapes = true});
  for (int step = 0; step < 3; ++step) {
    const Batch batch = ragged_batch(9, step);
    whole->zero_grad();
    squares(whole->forward(batch.tensors), batch).total.backward();
    pipeline.run({.batch = batch, .objective = squares, .global_samples = batch.size()});
    pipeline.finish();
    expect_same_stages(pipeline.module(), *whole, /*gradients=*/true);
  }
  meshes_.push_back(ranks);
}

TEST_F(PipelineTest, ShapesThatChangeMustBeAnnounced) {
  if (world() == 1) GTEST_SKIP() << "needs peers";
  PipelineParallel pipeline(std::make_shared<RaggedNetImpl>(), one_pipeline(), {.microbatches = 4});
  const Batch batch = ragged_batch(8, 0);
  try {
    pipeline.run({.batch = batch, .objective = squares, .global_samples = batch.size()});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("set PipelineOptions::dynamic_shapes"));
  }
}

/// A stage that throws on one rank.
struct FaultyImpl : SmallUImpl {
  std::vector<nn::Unit> units() override {
    std::vector<nn::Unit> list = SmallUImpl::units();
    list.back().forward = [](const std::vector<at::Tensor>&) -> std::vector<at::Tensor> {
      throw std::runtime_error("the head has fallen off");
    };
    return list;
  }
};

TEST_F(PipelineTest, AStageThatThrowsIsNamedOnAllRanks) {
  if (world() == 1) GTEST_SKIP() << "needs peers";
  const comm::Mesh ranks = one_pipeline();
  PipelineParallel pipeline(std::make_shared<FaultyImpl>(), ranks, {.microbatches = 2});
  const Batch batch = batch_of(0, 4);
  try {
    pipeline.run({.batch = batch, .objective = objective, .global_samples = 4});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the head has fallen off"));
    EXPECT_THAT(error.what(), HasSubstr("forward of microbatch 0 on rank " + std::to_string(world() - 1)));
  }
}

TEST_F(PipelineTest, SaysWhatItCannotCut) {
  const comm::Mesh ranks = one_pipeline();
  EXPECT_THAT(refusal([&] { PipelineParallel(std::make_shared<Mlp>(), ranks); }), HasSubstr("nn::UnitModel"));
  EXPECT_THAT(refusal([&] {
                PipelineParallel(
                    net(), ranks,
                    {.kind = PipelineKind::interleaved, .microbatches = 4 * world(), .stages_per_rank = 17});
              }),
              HasSubstr("15 units, too few for"));
  EXPECT_THAT(refusal([&] {
                PipelineParallel(net(), ranks, {.begins = {0, 99}});
              }),
              HasSubstr("begins must be"));
  meshes_.push_back(ranks);
}

}  // namespace
}  // namespace bunchtrain::parallel
