// SPDX-License-Identifier: Apache-2.0 Data-parallel training of CUDA tensors, over NCCL and over MPI:
// collectives start while backward goes on, statistics of batch norm are those of all ranks, ranks agree to
// the bit, and all is as on one rank in float64.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "bunchtrain/device/step_graph.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/parallel/gradient_buckets.hpp"
#include "data/backward_here.hpp"
#include "gpu/device_under_test.hpp"
#include "mpi/comm/world.hpp"
#include "unit/nn/random_tensors.hpp"

namespace bunchtrain::parallel {
namespace {

constexpr std::int64_t kInputs = 12, kWidth = 64;

/// Layers wide enough for buckets of their own; batch norm where it is asked for. Weights from a seed.
struct NetImpl : torch::nn::Module {
  explicit NetImpl(bool with_norms) {
    std::uint64_t stream = 0;
    for (int layer = 0; layer < 4; ++layer) {
      const std::int64_t inputs = layer == 0 ? kInputs : kWidth;
      layers.push_back(register_module("layer" + std::to_string(layer), torch::nn::Linear(inputs, kWidth)));
      if (with_norms)
        norms.push_back(register_module("norm" + std::to_string(layer),
                                        nn::BatchNorm(nn::BatchNormOptions{.channels = kWidth})));
    }
    const at::NoGradGuard no_gradients;
    for (auto& layer : layers)
      for (at::Tensor parameter : {layer->weight, layer->bias})
        parameter.copy_(nn::random_normal(parameter.sizes(), stream++).mul(0.1));
  }
  at::Tensor forward(at::Tensor x) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      x = layers[i]->forward(x);
      x = norms.empty() ? x.tanh() : norms[i]->forward(x, std::nullopt, /*relu=*/true);
    }
    return x;
  }
  std::vector<torch::nn::Linear> layers;
  std::vector<nn::BatchNorm> norms;
};

struct Rows {
  std::int64_t begin, count;
};

/// Rows of a table that all ranks know, with what the network should make of them.
struct Samples {
  at::Tensor inputs, targets;
  Samples(const Rows& rows, int step, c10::Device device, at::ScalarType type) {
    const auto part = [&](std::int64_t columns, std::uint64_t stream) {
      const auto number = static_cast<std::uint64_t>(step);
      return nn::random_normal({64, columns}, 10 * number + stream)
          .narrow(0, rows.begin, rows.count)
          .to(type)
          .to(device);
    };
    inputs = part(kInputs, 1);
    targets = part(kWidth, 2);
  }
};

struct Training {
  std::shared_ptr<NetImpl> net;
  DataParallel parallel;
  optim::Sgd optimizer;  // as gradients are: Adam would blow up the rounding of those that are zero

  Training(bool with_norms, const comm::Communicator& communicator, c10::Device device, at::ScalarType type,
           DataParallelOptions options)
      : net(std::make_shared<NetImpl>(with_norms)),
        parallel((net->to(device, type), net), communicator, with_forward(std::move(options), net)),
        optimizer(parallel, {.learning_rate = 0.1, .momentum = 0.9}) {}

  void steps(const Rows& rows, std::int64_t all, c10::Device device, at::ScalarType type) {
    for (int step = 0; step < 3; ++step) {
      const Samples samples(rows, step, device, type);
      parallel.backward(at::mse_loss(net->forward(samples.inputs), samples.targets),
                        {.samples = rows.count, .global_samples = all});
      optimizer.step();
    }
  }
  /// For passes of the engine.
  static DataParallelOptions with_forward(DataParallelOptions options, const std::shared_ptr<NetImpl>& net) {
    options.forward = [net](const NamedTensors& inputs) {
      return NamedTensors{{"out", net->forward(inputs["inputs"])}};
    };
    return options;
  }
  /// Parameters and statistics, flat, float64 on the CPU.
  at::Tensor state() const {
    std::vector<at::Tensor> parts;
    for (const at::Tensor& parameter : net->parameters())
      parts.push_back(parameter.detach().cpu().to(at::kDouble).flatten());
    for (const at::Tensor& buffer : net->buffers()) parts.push_back(buffer.cpu().to(at::kDouble).flatten());
    return at::cat(parts);
  }
};

class DataParallelGpuTest : public testing::Test {
 protected:
  DataParallelGpuTest() {
    test::let_ranks_share_cards(test_world().rank(), test_world().size());
    communicator_.emplace(comm::Communicator::create(
        test_world(), device_,
        {.backend = comm::BUNCHTRAIN_TEST_BACKEND, .timeout = std::chrono::seconds(60)}));
  }
  void TearDown() override { communicator_->close(); }

  int rank() const { return communicator_->rank(); }
  int world() const { return communicator_->size(); }
  /// Uneven shares of 20 rows.
  Rows share() const {
    if (world() == 1) return {0, 20};
    return rank() == 0 ? Rows{0, 13} : Rows{13, 7};
  }
  void expect_same_on_all_ranks(const at::Tensor& state) {
    at::Tensor all = state.to(device_).repeat({world()});
    communicator_->all_gather(all, state.to(device_)).wait();
    for (int other = 0; other < world(); ++other)
      EXPECT_TRUE(all.view({world(), -1})[other].cpu().equal(state)) << "rank " << other;
  }
  void expect_trains_as_one_rank(bool with_norms, const DataParallelOptions& options) {
    Training alone(with_norms, comm::Communicator::self(), c10::kCPU, at::kDouble, {});
    alone.steps({0, 20}, 20, c10::kCPU, at::kDouble);
    Training together(with_norms, *communicator_, device_, at::kFloat, options);
    together.steps(share(), 20, device_, at::kFloat);
    EXPECT_LT(nn::relative_difference(together.state(), alone.state()), 1e-3);
    expect_same_on_all_ranks(together.state());
  }

  const c10::Device device_ = test::device_under_test(test_world().local_rank());
  std::optional<comm::Communicator> communicator_;
};

TEST_F(DataParallelGpuTest, BucketsStartWhileBackwardGoesOn) {
  const auto make = [&] {
    return at::ones({1 << 16}, at::TensorOptions(at::kFloat).device(device_)).requires_grad_();
  };
  const at::Tensor a = make(), b = make(), c = make();
  tensor::ParameterArenas arenas = tensor::create_arenas({{"a", a}, {"b", b}, {"c", c}});
  GradientBuckets buckets(arenas, *communicator_, 1 << 18);
  for (int round = 0; round < 5; ++round) {
    for (auto& arena : arenas) {
      arena.begin_pass();
      arena.zero_gradients();
    }
    const BackwardHere here;
    buckets.arm(/*overlap=*/true);
    (((c + 1) * b + 1) * a).sum().backward();
    EXPECT_EQ(buckets.started_early(), buckets.buckets().size());
    buckets.finish();
    EXPECT_EQ(buckets.buckets().size(), 3U);
    EXPECT_EQ(a.grad().min().item<float>(), 3.0F * static_cast<float>(world()));
    EXPECT_EQ(b.grad().max().item<float>(), 2.0F * static_cast<float>(world()));
    EXPECT_EQ(c.grad().min().item<float>(), 1.0F * static_cast<float>(world()));
  }
}

TEST_F(DataParallelGpuTest, OverlappedBucketsTrainAsOneRankDoes) {
  expect_trains_as_one_rank(/*with_norms=*/false,
                            {.plan = CollectivePlan::buckets, .bucket_bytes = kWidth * kWidth * 4});
}

TEST_F(DataParallelGpuTest, OneCollectiveTrainsAsOneRankDoes) {
  expect_trains_as_one_rank(/*with_norms=*/false, {.plan = CollectivePlan::after_backward});
}

TEST_F(DataParallelGpuTest, SynchronisedBatchNormTrainsAsOneRankDoes) {
  expect_trains_as_one_rank(/*with_norms=*/true, {.sync_batch_norm = true});
}

/// Of a CPU: does its work again.
class HostGraph : public device::StepGraph {
 public:
  void capture(const std::function<void()>& work) override { work_ = work; }
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

/// A pass as an engine makes it, of rows that lie where they lie.
struct PassOfRows {
  Batch batch;
  nn::Objective objective{[](const NamedTensors& outputs, const Batch& batch) {
    return nn::Losses(at::mse_loss(outputs["out"], batch.tensors["targets"]));
  }};

  explicit PassOfRows(const Samples& samples) {
    batch.tensors = {{"inputs", samples.inputs}, {"targets", samples.targets}};
    batch.sample_ids = at::arange(samples.inputs.size(0));
    batch.global_samples = 20;
  }
  void become(const Samples& samples) {
    at::Tensor(batch.tensors["inputs"]).copy_(samples.inputs);
    at::Tensor(batch.tensors["targets"]).copy_(samples.targets);
  }
  Pass pass(bool repeated) const {
    return {.batch = batch, .objective = objective, .global_samples = 20, .repeated = repeated};
  }
};

/// Steps whose passes are taken down once, collectives and all.
TEST_F(DataParallelGpuTest, RepeatedPassesSumGradientsOverRanks) {
  if (device_.is_cuda() && communicator_->backend() == comm::Backend::mpi) {
    EXPECT_NE(communicator_->why_not_captured().find("through the host"), std::string::npos);
    return;
  }
  for (const CollectivePlan plan : {CollectivePlan::buckets, CollectivePlan::after_backward}) {
    const auto make = [&] {
      auto training = std::make_unique<Training>(/*with_norms=*/true, *communicator_, device_, at::kFloat,
                                                 DataParallelOptions{.plan = plan, .bucket_bytes = 1 << 14});
      training->net->train();
      return training;
    };
    const auto repeated = make(), eager = make();
    const std::unique_ptr<device::StepGraph> graph =
        device_.is_cuda() ? device::create_step_graph(device_) : std::make_unique<HostGraph>();
    PassOfRows rows(Samples(share(), 0, device_, at::kFloat));
    const auto run = [&](Training& training, bool is_repeated) {
      training.parallel.run(rows.pass(is_repeated));
      training.parallel.finish();
    };
    for (int step = 0; step < 8; ++step) {
      rows.become(Samples(share(), step, device_, at::kFloat));
      run(*eager, false);
      if (step < 4) {
        run(*repeated, false);
      } else {
        repeated->parallel.prepare_repeat(rows.pass(false));
        if (step == 4) communicator_->capture([&] { graph->capture([&] { run(*repeated, true); }); });
        communicator_->repeat([&] { graph->replay(); }, 0).wait();
        repeated->parallel.conclude_repeat();
      }
      eager->optimizer.step();
      repeated->optimizer.step();
      EXPECT_LT(nn::relative_difference(repeated->state(), eager->state()), 1e-6) << step;
    }
    expect_same_on_all_ranks(repeated->parallel.arenas()[0].values().cpu().to(at::kDouble));
  }
}

TEST_F(DataParallelGpuTest, LocalStatisticsAreCombinedByTheirCounts) {
  Training training(/*with_norms=*/true, *communicator_, device_, at::kFloat, {});
  training.steps(share(), 20, device_, at::kFloat);
  training.parallel.synchronize_buffers(3 * share().count);
  expect_same_on_all_ranks(training.state());
}

TEST_F(DataParallelGpuTest, ParametersAreThoseOfTheFirstRank) {
  auto net = std::make_shared<NetImpl>(false);
  net->to(device_);
  {
    const at::NoGradGuard no_gradients;
    net->layers[2]->weight.add_(rank());
  }
  const DataParallel parallel(net, *communicator_);
  expect_same_on_all_ranks(net->layers[2]->weight.detach().cpu().flatten());
  const NetImpl fresh(false);
  EXPECT_TRUE(net->layers[2]->weight.cpu().equal(fresh.layers[2]->weight));
}

}  // namespace
}  // namespace bunchtrain::parallel
