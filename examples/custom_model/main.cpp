// SPDX-License-Identifier: Apache-2.0
/// Your own network and your own step under the Trainer: a Deep Set (Zaheer et al., 1703.06114) with label
/// smoothing. The same program scores files by what it has trained:
///   mpirun -n 2 custom_model --data toy_jets.h5 --epochs 3 --run runs/deep_set
///   custom_model --evaluate --run runs/deep_set --data other.h5
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/relu.h>
#include <torch/nn/modules/linear.h>

#include <bunchtrain/bunchtrain.hpp>

#include <cstdio>

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

/// The network for the inputs and classes of a card, and its step: all that training and evaluation need.
bt::jet_tagging::EvaluatedNetwork make_network(const bt::features::Card& card) {
  DeepSet model(static_cast<std::int64_t>(card.num_inputs("features")),
                static_cast<std::int64_t>(card.classes.size()));
  const auto step = [model](const bt::Batch& batch) mutable -> bt::train::StepResult {
    const auto logits = model->forward(batch["features"], batch["mask"]);
    const auto sum = at::cross_entropy_loss(logits, batch["label"], {}, /*reduction=sum*/ 2,
                                            /*ignore_index=*/-100, /*label_smoothing=*/0.05);
    return {
        .loss = sum / std::max<std::int64_t>(batch.size(), 1), .outputs = logits, .samples = batch.size()};
  };
  return {.module = model.ptr(), .step = step};
}

int main(int argc, char** argv) {
  const bt::app::Program program{
      .summary = "Trains a Deep Set on jets: an example of an own network and an own step.",
      .options = bt::jet_tagging::evaluate_options()};
  return bt::run(argc, argv, program, [](bt::Session& session) {
    if (session.option("evaluate")) {
      const auto result = bt::jet_tagging::evaluate(session, make_network);
      if (session.is_root()) std::fputs(bt::jet_tagging::format_evaluation(result).c_str(), stdout);
      return;
    }
    const auto [train, valid] = bt::jet_tagging::open_data(session);
    const auto network = make_network(*train->card());
    bt::parallel::DataParallel parallel(network.module, session.world(),
                                        bt::train::parallel_options(session));
    bt::optim::AdamW optimizer(parallel, {.learning_rate = 1e-3});
    bt::train::Trainer trainer(session, parallel, optimizer, network.step);
    trainer.fit(train, valid);
  });
}
