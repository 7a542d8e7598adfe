// SPDX-License-Identifier: Apache-2.0
/// Your own network and your own step under the Trainer: a Deep Set (Zaheer et al., 1703.06114) with label
/// smoothing.
///   mpirun -n 2 custom_model --data toy_jets.h5 --epochs 3 --run runs/deep_set
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/relu.h>
#include <torch/nn/modules/linear.h>

#include <bunchtrain/bunchtrain.hpp>

namespace bt = bunchtrain;

struct DeepSetImpl : torch::nn::Module {
  DeepSetImpl(std::int64_t features, std::int64_t classes)
      : embed(register_module("embed", torch::nn::Linear(features, 64))),
        mix(register_module("mix", torch::nn::Linear(64, 64))),
        head(register_module("head", torch::nn::Linear(64, classes))) {}

  /// [B, P, F] and a mask [B, P] to logits [B, C]: the sum over real particles forgets their order.
  at::Tensor forward(const at::Tensor& features, const at::Tensor& mask) {
    const at::Tensor particles = at::relu(mix(at::relu(embed(features))));
    return head((particles * mask.unsqueeze(-1)).sum(1) / 32);
  }

  torch::nn::Linear embed, mix, head;
};
TORCH_MODULE(DeepSet);

int main(int argc, char** argv) {
  const bt::app::Program program{
      .summary = "Trains a Deep Set on jets: an example of an own network and an own step."};
  return bt::run(argc, argv, program, [](bt::Session& session) {
    const auto [train, valid] = bt::app::open_data(session);
    DeepSet model(static_cast<std::int64_t>(train->card()->num_inputs("features")),
                  static_cast<std::int64_t>(train->card()->classes.size()));
    bt::parallel::DataParallel parallel(model, session.world(), bt::app::parallel_options(session));
    bt::optim::AdamW optimizer(parallel, {.learning_rate = 1e-3});

    const auto step = [&](const bt::data::Batch& batch) -> bt::train::StepResult {
      const auto logits = model->forward(batch["features"], batch["mask"]);
      const auto sum = at::cross_entropy_loss(logits, batch["label"], {}, /*reduction=sum*/ 2,
                                              /*ignore_index=*/-100, /*label_smoothing=*/0.05);
      return {
          .loss = sum / std::max<std::int64_t>(batch.size(), 1), .outputs = logits, .samples = batch.size()};
    };
    bt::train::Trainer trainer(session, parallel, optimizer, step);
    trainer.fit(train, valid);
  });
}
