// SPDX-License-Identifier: Apache-2.0
// A network of one's own in float64, by the flag alone.
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <torch/nn/modules/linear.h>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::test {
namespace {

using testing::HasSubstr;

/// A module as a user writes it, which says nothing of types.
struct PlainImpl : torch::nn::Module, nn::Model {
  PlainImpl()
      : layer(register_module("layer", torch::nn::Linear(4, 2))),
        seen(register_buffer("seen", at::zeros({1}, at::kFloat))) {}
  std::vector<std::string> input_names() const override { return {"x"}; }
  NamedTensors forward(const NamedTensors& inputs) override { return {{"logits", layer(inputs["x"])}}; }

  torch::nn::Linear layer;
  at::Tensor seen;
};

/// Points whose coordinates are float32, as data mostly are.
data::DatasetPtr make_narrow_points(std::int64_t count, std::uint64_t seed = 1) {
  const CounterRandom random(seed, 7);
  at::Tensor x = at::empty({count, 4}, at::kFloat), label = at::empty({count}, at::kLong);
  float* point = x.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < 4 * count; ++i)
    point[i] = static_cast<float>(random.normal(static_cast<std::uint64_t>(i)));
  for (std::int64_t i = 0; i < count; ++i) label.mutable_data_ptr<std::int64_t>()[i] = point[4 * i] > 0;
  return data::make_memory_dataset({{"x", x}, {"label", label}}, 16);
}

class Float64Test : public TrainerFixture {
 protected:
  train::Session session_ =
      app::open_session(ToyTraining::parse(root_ / "run", {}), mpi::Comm::self(), Logger());
  std::shared_ptr<PlainImpl> network_ = std::make_shared<PlainImpl>();
};

TEST_F(Float64Test, InputsParametersBuffersAndLossAreFloat64) {
  parallel::DataParallel parallel(network_, session_.world(), train::parallel_options(session_));
  optim::AdamW optimizer(parallel, {.learning_rate = 0.05});
  std::int64_t calls = 0;
  const auto expect_wide = [&](const at::Tensor& tensor) { EXPECT_EQ(tensor.scalar_type(), at::kDouble); };
  train::Trainer trainer(session_, parallel, optimizer,
                         [&](const NamedTensors& outputs, const Batch& batch) {
                           ++calls;
                           nn::Losses losses = train::classification()(outputs, batch);
                           for (const at::Tensor& tensor : {batch["x"], outputs["logits"], losses.total})
                             expect_wide(tensor);
                           EXPECT_EQ(batch["label"].scalar_type(), at::kLong);
                           return losses;
                         },
                         {.epochs = 2, .batch = 32});
  trainer.fit(make_narrow_points(200), make_narrow_points(50, 2));
  EXPECT_EQ(calls, 2 * (7 + 2)) << "steps and validations";
  for (const at::Tensor& parameter : network_->parameters()) {
    expect_wide(parameter);
    expect_wide(parameter.grad());
  }
  expect_wide(network_->seen);
  const auto saved = checkpoint::read_snapshot(snapshot("run", 14));
  for (const auto& [name, tensor] : saved.components.at("model").tensors) expect_wide(tensor);
}

TEST_F(Float64Test, ANetworkThatDoesNotFitIsToldHow) {
  parallel::DataParallel parallel(network_, session_.world());
  optim::AdamW optimizer(parallel, {.learning_rate = 0.05});
  train::Trainer trainer(session_, parallel, optimizer, train::classification(), {.epochs = 2, .batch = 32});
  try {
    trainer.fit(make_narrow_points(200), nullptr);
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("parallel_options"));
  }
}

}  // namespace
}  // namespace bunchtrain::test
