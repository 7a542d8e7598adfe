// SPDX-License-Identifier: Apache-2.0
/// Your own GAN under the Trainer: a Wasserstein GAN with gradient penalty (Gulrajani et al., 1704.00028) of
/// longitudinal shower profiles, simulated while it trains.
///   mpirun -n 2 wgan_gp --epochs 5 --run runs/profiles
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/relu.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/linear.h>

#include <bunchtrain/bunchtrain.hpp>
#include <bunchtrain/nn/frozen_parameters.hpp>
#include <bunchtrain/nn/keyed_random.hpp>
#include <bunchtrain/optim/adam.hpp>
#include <bunchtrain/simulate/gflash.hpp>

namespace bt = bunchtrain;

constexpr std::int64_t kLayers = 25, kNoise = 16;
constexpr double kPenalty = 10;

struct NetworkImpl : torch::nn::Module {
  NetworkImpl(std::int64_t inputs, std::int64_t outputs)
      : first(register_module("first", torch::nn::Linear(inputs, 64))),
        second(register_module("second", torch::nn::Linear(64, 64))),
        last(register_module("last", torch::nn::Linear(64, outputs))) {}

  at::Tensor forward(const at::Tensor& x) {
    return last(at::leaky_relu(second(at::leaky_relu(first(x), 0.2)), 0.2));
  }

  torch::nn::Linear first, second, last;
};
TORCH_MODULE(Network);

/// Energy per layer relative to the primary's, in per cent: [B, layers].
at::Tensor profiles(const bt::Batch& batch) {
  return 100 * batch["image"].sum({1, 2}) / batch["energy"].unsqueeze(1);
}

/// Mean squared distance of the critic's slope from 1, on the way from real to fake.
at::Tensor gradient_penalty(Network& critic, const at::Tensor& real, const at::Tensor& fake,
                            const at::Tensor& where) {
  const at::Tensor between = (real + where * (fake - real)).detach().requires_grad_();
  const at::Tensor judged = critic(between);
  const auto slope =
      torch::autograd::grad({judged}, {between}, {at::ones_like(judged)}, /*retain_graph=*/true,
                            /*create_graph=*/true);
  return (at::norm(slope.front(), 2, 1) - 1).square().mean();
}

int main(int argc, char** argv) {
  const bt::app::Program program{.summary = "Trains a WGAN-GP of shower profiles: an example of an own GAN.",
                                 .defaults = {{"batch", std::int64_t{64}},
                                              {"schedule", std::string("constant")},
                                              {"reference-batch", std::int64_t{0}},
                                              {"learning-rate", 1e-4}}};
  return bt::run(argc, argv, program, [](bt::Session& session) {
    const auto showers =
        bt::simulate::make_gflash_dataset({.showers = {.count = 2000, .seed = session.seed()}});
    Network generator(kNoise, kLayers), critic(kLayers, 1);
    bt::parallel::DataParallel g(generator, session.world(), bt::train::parallel_options(session));
    bt::parallel::DataParallel c(critic, session.world(), bt::train::parallel_options(session));
    bt::optim::Adam g_optimizer(g, {.learning_rate = 1e-4, .beta1 = 0, .beta2 = 0.9});
    bt::optim::Adam c_optimizer(c, {.learning_rate = 1e-4, .beta1 = 0, .beta2 = 0.9});

    const auto step = [&](const bt::Batch& batch) {
      const auto& context = *bt::nn::StepContext::current();
      const bt::parallel::PassOptions counts{.samples = batch.size(), .global_samples = batch.global_size()};
      const auto make_fake = [&](std::uint64_t site) {
        return at::relu(generator(bt::nn::keyed_normal(context, site, kNoise)));
      };
      const at::Tensor real = profiles(batch), fake = make_fake(0).detach();
      const at::Tensor where = bt::nn::keyed_uniform(context, 1, 1);
      const at::Tensor distance = critic(real).mean() - critic(fake).mean();
      const at::Tensor penalty = gradient_penalty(critic, real, fake, where);
      c.backward(kPenalty * penalty - distance, counts);
      c_optimizer.step();

      const bt::nn::FrozenParameters frozen(*critic);
      const at::Tensor loss = -critic(make_fake(2)).mean();
      g.backward(loss, counts);
      g_optimizer.step();
      bt::NamedTensors losses;  // read when they are there: `item` would make the host wait for a GPU
      losses.set("critic_distance", distance);
      losses.set("critic_penalty", penalty);
      losses.set("generator_loss", loss);
      return losses;
    };
    bt::train::Trainer trainer(session, {{"generator", &g, &g_optimizer}, {"critic", &c, &c_optimizer}}, step,
                               nullptr, {.samples = "showers"});
    trainer.fit(showers, nullptr);
  });
}
