// SPDX-License-Identifier: Apache-2.0
// Passes of the plain engine that are taken down and repeated, by graphs of the host.
#include "plain_engine.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <torch/nn/module.h>

#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "bunchtrain/nn/model.hpp"
#include "bundles.hpp"
#include "support/host_graph.hpp"
#include "support/message_of.hpp"
#include "unit/features/raw_blocks.hpp"

namespace bunchtrain::infer::test {
namespace {

using bunchtrain::test::GraphCounts;
using bunchtrain::test::HostGraph;
using bunchtrain::test::message_of;
using device::CudaGraph;
using testing::AllOf;
using testing::HasSubstr;

/// Graphs of the host, from any thread.
class HostGraphs {
 public:
  device::PassGraphs supply() {
    return {.create = [this]() -> std::unique_ptr<device::StepGraph> {
      const std::lock_guard lock(mutex_);
      counts_.push_back(std::make_unique<GraphCounts>());
      return std::make_unique<HostGraph>(*counts_.back());
    }};
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<GraphCounts>> counts_;
};

class PlainEngineTest : public testing::Test {
 protected:
  features::Card card() const {
    features::Card card = features::load_card("top_tagging");
    card.length = 24;
    return card;
  }
  std::vector<double> scores_of(const PlainEngine& engine) const {
    PlainEngine::Scratch scratch;
    Columns columns(raw_, engine.inputs());
    std::vector<double> scores(static_cast<std::size_t>(raw_.rows) * engine.outputs().size());
    engine.run(columns.jets(), scores, scratch);
    return scores;
  }

  const BundleFolder folder_;
  const std::filesystem::path net_ = folder_.write(make_bundle(card(), models::ParticleNetOptions::lite()));
  const features::RawColumns raw_ = features::test::make_top_tagging_block(70, 40);
  HostGraphs graphs_;
};

TEST_F(PlainEngineTest, RepeatedPassesHaveTheBitsOfEagerOnes) {
  for (const device::Precision precision : {device::Precision::float32, device::Precision::bfloat16}) {
    const PredictorOptions options{.batch = 64, .precision = precision, .cuda_graph = CudaGraph::off};
    PredictorOptions repeating = options;
    repeating.cuda_graph = CudaGraph::on;
    const PlainEngine eager(net_, options), engine(net_, repeating, graphs_.supply());
    const std::vector<double> expected = scores_of(eager);
    for (int call = 0; call < 8; ++call) EXPECT_EQ(scores_of(engine), expected) << call;
    const device::GraphUse use = engine.graph_use();
    EXPECT_EQ(use.graphs, 2) << "of 64 jets and of the 6 behind them";
    EXPECT_EQ(use.repeated, 6);
    EXPECT_EQ(use.eager, 10);
    EXPECT_EQ(use.why_eager, "");
    EXPECT_EQ(eager.graph_use().eager, 0);
  }
}

TEST_F(PlainEngineTest, AGeneratorOfShowersIsRepeated) {
  const auto generator = folder_.write(make_generator_bundle("fixed"), "generator");
  const PlainEngine eager(generator, {}), engine(generator, {.cuda_graph = CudaGraph::on}, graphs_.supply());
  const NamedTensors latent{{"latent", at::rand({2, 200})}};
  const at::Tensor expected = eager.run(latent)["image"];
  for (int call = 0; call < 7; ++call) EXPECT_TRUE(engine.run(latent)["image"].equal(expected)) << call;
  EXPECT_EQ(engine.graph_use().repeated, 2);
}

TEST_F(PlainEngineTest, ThreadsHaveTheScoresOfOne) {
  const PlainEngine engine(net_, {.batch = 64, .cuda_graph = CudaGraph::on}, graphs_.supply());
  const std::vector<double> expected = scores_of(PlainEngine(net_, {.batch = 64}));
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 3; ++caller)
    callers.emplace_back([&] {
      for (int call = 0; call < 6; ++call) EXPECT_EQ(scores_of(engine), expected);
    });
  callers.clear();
  EXPECT_GT(engine.graph_use().repeated, 0);
}

/// y = 2 x, always in the same memory, as the outputs of a GPU's graph are.
struct InPlaceImpl : torch::nn::Module, nn::Model {
  explicit InPlaceImpl(bool capturable) : is_capturable_(capturable) {
    register_parameter("factor", at::full({}, 2.0));
  }
  std::vector<std::string> input_names() const override { return {"x"}; }
  NamedTensors forward(const NamedTensors& inputs) override {
    const at::Tensor& x = inputs["x"];
    if (!y_.defined()) y_ = at::zeros(x.sizes());
    return {{"y", y_.copy_(x.mul(parameters().front()))}};
  }
  std::string description() const override { return name(is_capturable_); }
  bool is_capturable() const override { return is_capturable_; }

  static std::string name(bool capturable) {
    return capturable ? R"({"model": "in-place"})" : R"({"model": "in-place-waiting"})";
  }
  static weights::Bundle bundle(bool capturable) {
    InPlaceImpl network(capturable);
    return {.weights = weights::named_state(network), .model = name(capturable)};
  }

 private:
  bool is_capturable_;
  at::Tensor y_;
};

TEST_F(PlainEngineTest, OutputsBelongToTheCaller) {
  models::register_model("in-place",
                         [](const models::ModelDescription&) { return std::make_shared<InPlaceImpl>(true); });
  models::register_model("in-place-waiting", [](const models::ModelDescription&) {
    return std::make_shared<InPlaceImpl>(false);
  });
  const PlainEngine engine(folder_.write(InPlaceImpl::bundle(true), "own"), {.cuda_graph = CudaGraph::on},
                           graphs_.supply());
  std::vector<at::Tensor> found;
  for (int call = 0; call < 9; ++call)
    found.push_back(engine.run({{"x", at::full({3}, call)}, {"unused", at::ones({call})}})["y"]);
  for (int call = 5; call < 9; ++call)
    EXPECT_TRUE(found[static_cast<std::size_t>(call)].eq(2 * call).all().item<bool>()) << call;
  EXPECT_EQ(engine.graph_use().repeated, 4);

  const PlainEngine waiting(folder_.write(InPlaceImpl::bundle(false), "waiting"),
                            {.cuda_graph = CudaGraph::on}, graphs_.supply());
  for (int call = 0; call < 7; ++call) waiting.run({{"x", at::ones({3})}});
  EXPECT_EQ(waiting.graph_use().graphs, 0);
  EXPECT_THAT(waiting.graph_use().why_eager, HasSubstr("nn::Model::is_capturable"));
}

TEST_F(PlainEngineTest, InferenceModeOfOneCallerIsNotThatOfAnother) {
  const PlainEngine engine(net_, {.cuda_graph = CudaGraph::on}, graphs_.supply());
  const NamedTensors jets{{"points", at::rand({2, 24, 2})},
                          {"features", at::rand({2, 24, 7})},
                          {"mask", at::ones({2, 24}, at::kBool)}};
  at::Tensor expected;
  for (int call = 0; call < 5; ++call) {
    const c10::InferenceMode mode;
    expected = engine.run(jets)["logits"].clone();
  }
  const at::Tensor found = engine.run(jets)["logits"];
  EXPECT_EQ(engine.graph_use().repeated, 1);
  EXPECT_TRUE(found.equal(expected));
  EXPECT_FALSE(found.is_inference());
}

TEST_F(PlainEngineTest, GraphsAreOfAGpu) {
  const auto refusal_of = [&](const PredictorOptions& options) {
    return message_of([&] { Predictor::load(net_, options); });
  };
  EXPECT_THAT(refusal_of({.cuda_graph = CudaGraph::on}),
              AllOf(HasSubstr("cuda_graph = on"), HasSubstr("automatic or off on the CPU")));
  EXPECT_THAT(refusal_of({.engine = Engine::fast, .cuda_graph = CudaGraph::on}),
              AllOf(HasSubstr("cuda_graph = on"), HasSubstr("automatic or off for the fast engine")));
  EXPECT_THAT(refusal_of({.most_graphs = 0}), AllOf(HasSubstr("most_graphs = 0"), HasSubstr("at least 1")));
  const Predictor automatic = Predictor::load(net_, {.cuda_graph = CudaGraph::automatic});
  EXPECT_EQ(automatic.graph_use().eager, 0);
  EXPECT_EQ(Predictor::load(net_, {.engine = Engine::fast}).graph_use().graphs, 0);
}

}  // namespace
}  // namespace bunchtrain::infer::test
