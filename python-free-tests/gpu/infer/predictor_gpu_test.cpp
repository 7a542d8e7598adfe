// SPDX-License-Identifier: Apache-2.0
// Passes of a predictor that are repeated as CUDA graphs, beside eager ones on the same device.
#include "bunchtrain/infer/predictor.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gmock/gmock.h>

#include <optional>
#include <thread>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "gpu/device_under_test.hpp"
#include "unit/features/raw_blocks.hpp"
#include "unit/infer/bundles.hpp"

namespace bunchtrain::infer::test {
namespace {

using device::CudaGraph;

class PredictorGpuTest : public testing::Test {
 protected:
  static features::Card card() {
    features::Card card = features::load_card("top_tagging");
    card.length = 64;
    return card;
  }
  /// A CPU has no graphs: the test is tried there.
  Predictor load(CudaGraph wish, device::Precision precision = device::Precision::float32) const {
    if (device_.is_cpu() && wish == CudaGraph::on) wish = CudaGraph::automatic;
    return Predictor::load(net_,
                           {.batch = 16, .precision = precision, .device = device_, .cuda_graph = wish});
  }
  std::vector<double> scores_of(const Predictor& predictor) const {
    Scratch scratch = predictor.make_scratch();
    Columns columns(raw_, predictor.inputs());
    std::vector<double> scores(static_cast<std::size_t>(raw_.rows) * predictor.outputs().size());
    predictor.run(columns.jets(), scores, scratch);
    return scores;
  }

  const c10::Device device_ = bunchtrain::test::device_under_test();
  const BundleFolder folder_;
  const std::filesystem::path net_ = folder_.write(make_bundle(card(), models::ParticleNetOptions()));
  const features::RawColumns raw_ = features::test::make_top_tagging_block(20, 80);
};

TEST_F(PredictorGpuTest, RepeatedPassesHaveTheBitsOfEagerOnes) {
  for (const device::Precision precision : {device::Precision::float32, device::Precision::bfloat16}) {
    const std::vector<double> expected = scores_of(load(CudaGraph::off, precision));
    const Predictor predictor = load(CudaGraph::on, precision);
    for (int call = 0; call < 8; ++call) EXPECT_EQ(scores_of(predictor), expected) << call;
    const device::GraphUse use = predictor.graph_use();
    EXPECT_EQ(use.why_eager, "");
    EXPECT_EQ(use.repeated, device_.is_cpu() ? 0 : 6);
  }
}

/// Each on a stream of its own, which changes from call to call.
TEST_F(PredictorGpuTest, ThreadsHaveTheScoresOfOne) {
  const std::vector<double> expected = scores_of(load(CudaGraph::off));
  const Predictor predictor = load(CudaGraph::on);
  const int calls = device_.is_cpu() ? 1 : 30;
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int call = 0; call < calls; ++call) {
        std::optional<c10::cuda::CUDAStreamGuard> own;
        if (device_.is_cuda()) own.emplace(c10::cuda::getStreamFromPool(false, device_.index()));
        EXPECT_EQ(scores_of(predictor), expected);
      }
    });
  callers.clear();
  EXPECT_TRUE(device_.is_cpu() || predictor.graph_use().repeated > 100) << predictor.graph_use().why_eager;
}

TEST_F(PredictorGpuTest, OutputsBelongToTheCaller) {
  const Predictor eager = load(CudaGraph::off), predictor = load(CudaGraph::on);
  std::vector<at::Tensor> found, expected;
  for (int call = 0; call < 10; ++call) {
    const NamedTensors jets{{"points", at::rand({3, 64, 2})},
                            {"features", at::rand({3, 64, 7})},
                            {"mask", at::ones({3, 64}, at::kBool)}};
    expected.push_back(eager.run(jets)["logits"]);
    found.push_back(predictor.run(jets)["logits"]);
  }
  for (std::size_t call = 0; call < found.size(); ++call)
    EXPECT_TRUE(found[call].equal(expected[call])) << call;
}

}  // namespace
}  // namespace bunchtrain::infer::test
