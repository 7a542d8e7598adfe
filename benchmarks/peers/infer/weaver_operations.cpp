// SPDX-License-Identifier: Apache-2.0
// Scores jets by the operations of weaver-core's ParticleNet in evaluation mode, one after the other in LibTorch: what a
// host computes that runs weaver's network there. Prints rows as `bunchtrain bench infer` does, for the same jets or such of
// the same sizes;
// the inputs are ready-made. Its logits must be those of our module.

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/raw_jets.hpp"
#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "bunchtrain/infer/predictor.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/models/particle_net_options.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "lite/made_up_jets.hpp"

namespace {

namespace bt = bunchtrain;

constexpr std::int64_t kJets = 256;

struct Arguments {
  std::string bundle, data;
  std::vector<std::int64_t> batches = {1, 64};
  std::int64_t particles = 50;
  double seconds = 1;
  bool alike = false;
};

/// weaver's layout: [B, C, P].
struct Inputs {
  at::Tensor points, features, mask;
};

/// As weaver.nn.model.ParticleNet writes it, of tensors by its own names.
class WeaverOperations {
 public:
  WeaverOperations(bt::NamedTensors weights, bt::models::ParticleNetOptions options)
      : weights_(std::move(weights)), options_(std::move(options)) {}

  at::Tensor logits(const Inputs& inputs) const {
    const at::Tensor mask = inputs.mask;
    const at::Tensor points = inputs.points * mask;
    const at::Tensor shift = (mask == 0) * 1e9;
    const at::Tensor counts = at::maximum(mask.sum(-1), at::ones_like(mask.sum(-1)));
    at::Tensor features = normalise(inputs.features * mask, "bn_fts") * mask;
    std::vector<at::Tensor> outputs;
    for (std::size_t i = 0; i < options_.blocks.size(); ++i) {
      features = edge_conv("edge_convs." + std::to_string(i), options_.blocks[i],
                           (i == 0 ? points : features) + shift, features) *
                 mask;
      outputs.push_back(features);
    }
    if (options_.fusion)
      features =
          at::relu(normalise(pointwise(at::cat(outputs, 1), "fusion_block.0"), "fusion_block.1")) * mask;
    const at::Tensor pooled = features.sum(-1) / counts;
    const at::Tensor hidden =
        at::relu(at::linear(pooled, weights_["fc.0.0.weight"], weights_["fc.0.0.bias"]));
    return at::linear(hidden, weights_["fc.1.weight"], weights_["fc.1.bias"]);
  }

 private:
  static at::Tensor neighbours(const at::Tensor& x, std::int64_t k) {
    const at::Tensor inner = at::matmul(x.transpose(2, 1), x).mul(-2);
    const at::Tensor squares = x.square().sum(1, true);
    const at::Tensor nearness = -squares - inner - squares.transpose(2, 1);
    return std::get<1>(nearness.topk(k + 1, -1)).narrow(-1, 1, k);
  }

  static at::Tensor edges(const at::Tensor& x, std::int64_t k, const at::Tensor& indices) {
    const std::int64_t batch = x.size(0), channels = x.size(1), points = x.size(2);
    const at::Tensor base = at::arange(batch).view({-1, 1, 1}) * points;
    const at::Tensor rows = x.transpose(2, 1).reshape({-1, channels});
    const at::Tensor other = rows.index_select(0, (indices + base).view(-1))
                                 .view({batch, points, k, channels})
                                 .permute({0, 3, 1, 2})
                                 .contiguous();
    const at::Tensor own = x.view({batch, channels, points, 1}).repeat({1, 1, 1, k});
    return at::cat({own, other - own}, 1);
  }

  at::Tensor normalise(const at::Tensor& x, const std::string& name) const {
    return at::batch_norm(x, weights_[name + ".weight"], weights_[name + ".bias"],
                          weights_[name + ".running_mean"], weights_[name + ".running_var"], false, 0.1, 1e-5,
                          false);
  }
  at::Tensor pointwise(const at::Tensor& x, const std::string& name) const {
    const at::Tensor& weight = weights_[name + ".weight"];
    return at::conv1d(x, weight.reshape({weight.size(0), weight.size(1), 1}));
  }

  at::Tensor edge_conv(const std::string& name, const bt::models::EdgeConvSpec& spec,
                       const at::Tensor& points, const at::Tensor& features) const {
    at::Tensor x = edges(features, spec.k, neighbours(points, spec.k));
    for (int i = 0; i < 3; ++i) {
      const std::string number = std::to_string(i);
      const at::Tensor& weight = weights_[name + ".convs." + number + ".weight"];
      x = at::conv2d(x, weight.reshape({weight.size(0), weight.size(1), 1, 1}));
      x = at::relu(normalise(x, name + ".bns." + number));
    }
    const at::Tensor mean = x.mean(-1);
    const at::Tensor shortcut = weights_.contains(name + ".sc.weight")
                                    ? normalise(pointwise(features, name + ".sc"), name + ".sc_bn")
                                    : features;
    return at::relu(shortcut + mean);
  }

  bt::NamedTensors weights_;
  bt::models::ParticleNetOptions options_;
};

/// Jets of a file by the card, or of random numbers; all with as many slots as the card says.
Inputs make_inputs(const Arguments& arguments, const bt::features::Card& card) {
  if (!arguments.data.empty()) {
    const auto raw = bt::data::read_raw_jets(arguments.data, card, kJets);
    std::vector<std::int64_t> rows(static_cast<std::size_t>(raw.rows));
    std::iota(rows.begin(), rows.end(), 0);
    const auto tensors = bt::features::FeaturePipeline(card).evaluate(raw, rows).tensors;
    return {tensors["points"].transpose(1, 2), tensors["features"].transpose(1, 2),
            tensors["mask"].unsqueeze(1).to(at::kFloat)};
  }
  const std::int64_t length = card.length;
  const auto particles = arguments.alike
                             ? std::vector<std::int64_t>(kJets, std::min(arguments.particles, length))
                             : bt::infer::detail::make_up_particles(kJets, arguments.particles, length, 1);
  const auto columns = [&](const char* name) { return static_cast<std::int64_t>(card.num_inputs(name)); };
  Inputs inputs{at::randn({kJets, columns("points"), length}),
                at::randn({kJets, columns("features"), length}), at::zeros({kJets, 1, length})};
  for (std::int64_t jet = 0; jet < kJets; ++jet)
    inputs.mask[jet][0].narrow(0, 0, particles[static_cast<std::size_t>(jet)]).fill_(1);
  inputs.points.mul_(inputs.mask);
  inputs.features.mul_(inputs.mask);
  return inputs;
}

/// Some jets, with as many slots as the longest of them has particles.
Inputs cut(const Inputs& all, std::int64_t first, std::int64_t count, std::int64_t least) {
  const std::int64_t longest = all.mask.narrow(0, first, count).sum(-1).max().item<std::int64_t>();
  const auto part = [&](const at::Tensor& x) {
    return x.narrow(0, first, count).narrow(2, 0, std::max(longest, least)).contiguous();
  };
  return {part(all.points), part(all.features), part(all.mask)};
}

void require_same(const WeaverOperations& weaver, const bt::infer::Predictor& predictor,
                  const Inputs& inputs) {
  const at::Tensor expected = predictor.run({{"points", inputs.points.transpose(1, 2).contiguous()},
                                             {"features", inputs.features.transpose(1, 2).contiguous()},
                                             {"mask", inputs.mask.squeeze(1).to(at::kBool)}})["logits"];
  const double difference = (weaver.logits(inputs) - expected).abs().max().item<double>();
  if (!(difference < 1e-3 * std::max(1.0, expected.abs().max().item<double>())))
    throw bt::ConfigError(fmt::format("the operations differ from the module by {}", difference));
}

void measure(const WeaverOperations& weaver, const std::vector<Inputs>& batches, std::int64_t size,
             double seconds, const char* name) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> calls;
  const auto probabilities = [&](const Inputs& inputs) { return at::softmax(weaver.logits(inputs), 1); };
  probabilities(batches.front());
  double busy = 0;
  while (busy < seconds) {
    const auto begin = Clock::now();
    probabilities(batches[calls.size() % batches.size()]);
    calls.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    busy += calls.back();
  }
  const double rate = static_cast<double>(calls.size()) * static_cast<double>(size) / busy;
  std::sort(calls.begin(), calls.end());
  const auto quantile = [&](double fraction) {
    return calls[static_cast<std::size_t>(fraction * static_cast<double>(calls.size() - 1) + 0.5)];
  };
  const double p50 = quantile(0.5), p99 = quantile(0.99);
  fmt::print("  {:<22} {:>5} {:>7} {:>10.4g} {:>10.4g} {:>8.2f} {:>12.5g}\n", name, size, 1, 1e3 * p50,
             1e3 * p99, p99 / p50, rate);
}

void run(const Arguments& arguments) {
  const at::NoGradGuard no_gradients;
  at::set_num_threads(1);
  const bt::weights::Bundle bundle = bt::weights::read_bundle(arguments.bundle);
  const auto predictor = bt::infer::Predictor::load(arguments.bundle);
  const auto options =
      bt::models::ParticleNetOptions::from(bt::models::ModelDescription::parse(bundle.model));
  const WeaverOperations weaver(bundle.weights, options);
  const std::int64_t length = predictor.card()->length;
  std::int64_t least = 1;
  for (const auto& block : options.blocks) least = std::max(least, block.k + 1);
  const Inputs all = make_inputs(arguments, *predictor.card());
  for (const std::int64_t size : arguments.batches)
    for (const bool trimmed : {false, true}) {
      std::vector<Inputs> batches;
      for (std::int64_t first = 0; first + size <= all.mask.size(0); first += size)
        batches.push_back(cut(all, first, size, trimmed ? least : length));
      require_same(weaver, predictor, batches.front());
      measure(weaver, batches, size, arguments.seconds, trimmed ? "weaver, trimmed" : "weaver, padded");
    }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Times the operations of weaver's ParticleNet in LibTorch, on one thread");
  app.add_option("bundle", arguments.bundle)->required();
  app.add_option("--data", arguments.data, "HDF5 file whose first jets are scored");
  app.add_option("--batch", arguments.batches)->delimiter(',');
  app.add_option("--particles", arguments.particles);
  app.add_option("--seconds", arguments.seconds);
  app.add_flag("--alike", arguments.alike);
  CLI11_PARSE(app, argc, argv);
  try {
    run(arguments);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
