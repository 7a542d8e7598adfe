// SPDX-License-Identifier: Apache-2.0
/// Your own network and your own objective under the Trainer: a Deep Set (Zaheer et al., 1703.06114) with
/// label smoothing. The same program scores files by what it has trained:
///   mpirun -n 2 custom_model --data toy_jets.h5 --epochs 3 --run runs/deep_set
///   custom_model --evaluate --run runs/deep_set --data other.h5
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/relu.h>
#include <torch/nn/modules/linear.h>

#include <bunchtrain/bunchtrain.hpp>

#include <cstdio>

namespace bt = bunchtrain;

struct DeepSetImpl : torch::nn::Module, bt::nn::Model {
  DeepSetImpl(std::int64_t features, std::int64_t classes)
      : embed(register_module("embed", torch::nn::Linear(features, 64))),
        mix(register_module("mix", torch::nn::Linear(64, 64))),
        head(register_module("head", torch::nn::Linear(64, classes))) {}

  std::vector<std::string> input_names() const override { return {"features", "mask"}; }

  /// [B, P, F] and a mask [B, P] to logits [B, C]: the sum over real particles forgets their order.
  bt::NamedTensors forward(const bt::NamedTensors& inputs) override {
    const at::Tensor particles = at::relu(mix(at::relu(embed(inputs["features"]))));
    return {{"logits", head((particles * inputs["mask"].unsqueeze(-1)).sum(1) / 32)}};
  }

  torch::nn::Linear embed, mix, head;
};

/// The network for the inputs and classes of a card: all that evaluation needs.
std::shared_ptr<torch::nn::Module> make_network(const bt::features::Card& card) {
  return std::make_shared<DeepSetImpl>(static_cast<std::int64_t>(card.num_inputs("features")),
                                       static_cast<std::int64_t>(card.classes.size()));
}

bt::nn::Losses smoothed_cross_entropy(const bt::NamedTensors& outputs, const bt::Batch& batch) {
  const at::Tensor sum = at::cross_entropy_loss(outputs["logits"], batch["label"], {}, /*reduction=sum*/ 2,
                                                /*ignore_index=*/-100, /*label_smoothing=*/0.05);
  return sum / std::max<std::int64_t>(batch.size(), 1);
}

int main(int argc, char** argv) {
  const bt::app::Program program{
      .summary = "Trains a Deep Set on jets: an example of an own network and an own step.",
      .options = bt::app::evaluate_specs()};
  return bt::run(argc, argv, program, [](bt::Session& session) {
    if (session.option("evaluate")) {
      const auto result =
          bt::jet_tagging::evaluate(session, bt::app::evaluate_options(session), make_network);
      if (session.is_root()) std::fputs(bt::jet_tagging::format_evaluation(result).c_str(), stdout);
      return;
    }
    const auto [train, valid] = bt::jet_tagging::open_data(session, bt::app::jet_data_options(session));
    const auto network = make_network(*train->card());
    bt::parallel::DataParallel parallel(network, session.world(), bt::train::parallel_options(session));
    bt::optim::AdamW optimizer(parallel, {.learning_rate = 1e-3});
    bt::train::Trainer trainer(session, parallel, optimizer, smoothed_cross_entropy);
    trainer.fit(train, valid);
  });
}
