// SPDX-License-Identifier: Apache-2.0 Times training steps of ParticleNet on random jets: the counterpart of
// weaver_step.py, which prints the same line.

#include <ATen/Parallel.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/nn/model.hpp"

namespace {

namespace bt = bunchtrain;

struct Arguments {
  std::string model = "particlenet";
  std::string precision = "float32";
  std::int64_t batch = 128, particles = 128, real = 128;
  int threads = 2, steps = 5, warmup = 2;
  bool recompute = false;
};

at::Tensor normal(at::IntArrayRef shape, std::uint64_t stream) {
  const at::Tensor values = at::empty(shape);
  const bt::CounterRandom random(1, stream);
  auto* value = values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i)
    value[i] = static_cast<float>(random.normal(static_cast<std::uint64_t>(i)));
  return values;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Times training steps of ParticleNet on random jets");
  app.add_option("--model", arguments.model);
  app.add_option("--precision", arguments.precision);
  app.add_option("--batch", arguments.batch);
  app.add_option("--particles", arguments.particles);
  app.add_option("--real", arguments.real, "real particles of each jet");
  app.add_option("--threads", arguments.threads);
  app.add_option("--steps", arguments.steps);
  app.add_option("--warmup", arguments.warmup);
  app.add_flag("--recompute", arguments.recompute);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  bunchtrain::device::keep_freed_memory();
  at::set_num_threads(arguments.threads);
  const auto module =
      bt::models::create(bt::models::ModelDescription(arguments.model).set("recompute", arguments.recompute));
  bt::nn::Model& model = *bt::nn::as_model(*module);
  const at::Tensor mask = at::zeros({arguments.batch, arguments.particles}, at::kBool);
  mask.narrow(1, 0, arguments.real).fill_(true);
  const at::Tensor real = mask.unsqueeze(2).to(at::kFloat);
  const at::Tensor points = normal({arguments.batch, arguments.particles, 2}, 0).mul(real);
  const at::Tensor features = normal({arguments.batch, arguments.particles, 7}, 1).mul(real);
  const at::Tensor labels = at::zeros({arguments.batch}, at::kLong);
  const auto precision = bt::device::parse_precision(arguments.precision);

  std::vector<double> seconds;
  for (int step = 0; step < arguments.warmup + arguments.steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    module->zero_grad();
    {
      const bt::device::PrecisionGuard guard(precision, at::kCPU);
      const auto outputs = model.forward({{"points", points}, {"features", features}, {"mask", mask}});
      at::cross_entropy_loss(outputs["logits"].to(at::kFloat), labels).backward();
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (step >= arguments.warmup) seconds.push_back(elapsed.count());
  }
  std::ranges::sort(seconds);
  const double median = seconds[seconds.size() / 2];
  fmt::print("bunchtrain {} {} batch {} real {}/{} threads {}: {:.1f} jets/s\n", arguments.model,
             arguments.precision, arguments.batch, arguments.real, arguments.particles, arguments.threads,
             arguments.batch / median);
}
