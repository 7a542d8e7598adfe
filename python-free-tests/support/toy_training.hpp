// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A small classification task that trains in milliseconds, for tests of the trainer.

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <algorithm>

#include <filesystem>
#include <string>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/train/objectives.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "flags.hpp"

namespace bunchtrain::test {

/// `count` points in 4 dimensions, float64; the class is the side of a plane.
inline data::DatasetPtr make_points(std::int64_t count, std::uint64_t seed = 1) {
  const CounterRandom random(seed, 7);
  at::Tensor x = at::empty({count, 4}, at::kDouble);
  at::Tensor label = at::empty({count}, at::kLong);
  auto point = x.accessor<double, 2>();
  auto side = label.accessor<std::int64_t, 1>();
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t d = 0; d < 4; ++d) point[i][d] = random.normal(static_cast<std::uint64_t>(4 * i + d));
    side[i] = point[i][0] + 0.5 * point[i][1] > 0;
  }
  NamedTensors tensors;
  tensors.set("x", x);
  tensors.set("label", label);
  return data::make_memory_dataset(std::move(tensors), 16);
}

/// Two layers with a batch norm between, weights from a seed.
struct NetworkImpl : torch::nn::Module, nn::Model {
  explicit NetworkImpl(std::uint64_t seed = 3)
      : first(register_module("first", torch::nn::Linear(4, 8))),
        norm(register_module("norm", nn::BatchNorm(nn::BatchNormOptions{.channels = 8}))),
        second(register_module("second", torch::nn::Linear(8, 2))) {
    to(at::kDouble);
    const at::NoGradGuard no_gradients;
    const CounterRandom random(seed, 1);
    std::uint64_t position = 0;
    for (auto& parameter : {first->weight, first->bias, second->weight, second->bias}) {
      double* values = at::Tensor(parameter).mutable_data_ptr<double>();
      for (std::int64_t i = 0; i < parameter.numel(); ++i) values[i] = random.uniform(position++) - 0.5;
    }
  }
  at::Tensor forward(const at::Tensor& x) { return second(norm->forward(first(x), std::nullopt, true)); }
  NamedTensors forward(const NamedTensors& inputs) override {
    return {{"logits", forward(inputs["x"].to(first->weight.scalar_type()))}};
  }
  std::vector<std::string> input_names() const override { return {"x"}; }

  torch::nn::Linear first;
  nn::BatchNorm norm;
  torch::nn::Linear second;
};
TORCH_MODULE(Network);

/// What the toy trainings minimise.
inline at::Tensor loss_of(Network& network, const Batch& batch) {
  return train::classification()(network->forward(batch.tensors), batch).total;
}

/// Everything of one training, ready to `fit`.
struct ToyTraining {
  train::Session session;
  Network network;
  parallel::DataParallel parallel;
  optim::AdamW optimizer;
  train::Trainer trainer;

  ToyTraining(const mpi::Comm& control, const std::filesystem::path& run, std::vector<std::string> flags = {},
              train::TrainerOptions options = {.epochs = 3, .batch = 32}, const Logger& logger = {})
      : session(app::open_session(parse(run, std::move(flags)), control, logger)),
        parallel(network, session.world(), {.sync_batch_norm = session.option("sync-batch-norm")}),
        optimizer(parallel, {.learning_rate = 0.05}),
        trainer(session, parallel, optimizer, train::classification(), std::move(options)) {}

  static config::Options parse(const std::filesystem::path& run, std::vector<std::string> flags) {
    if (std::ranges::find(flags, "--precision") == flags.end())
      flags.insert(flags.begin(), {"--precision", "float64"});
    flags.insert(flags.begin(), {"--run", run.string()});
    return parse_flags(std::move(flags));
  }
  /// All parameters and buffers, flat.
  std::vector<double> weights() const {
    std::vector<double> all;
    const auto append = [&](const at::Tensor& tensor) {
      const at::Tensor flat = tensor.detach().to(at::kDouble).contiguous().view(-1);
      all.insert(all.end(), flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel());
    };
    for (const auto& parameter : network->parameters()) append(parameter);
    for (const auto& buffer : network->buffers()) append(buffer);
    return all;
  }
};

/// Records the losses of every step, and asks for a stop after one of them.
class LossRecorder : public train::Callback {
 public:
  explicit LossRecorder(train::Session* stop = nullptr, std::int64_t stop_after = -1)
      : session_(stop), stop_after_(stop_after) {}
  void on_step(const train::StepEvent& event) override {
    losses.push_back(event.loss);
    rates.push_back(event.learning_rate);
    if (session_ && event.step == stop_after_) session_->request_stop();
  }
  std::vector<double> losses;
  std::vector<double> rates;

 private:
  train::Session* session_;
  std::int64_t stop_after_;
};

}  // namespace bunchtrain::test
