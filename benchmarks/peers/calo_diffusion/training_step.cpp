// SPDX-License-Identifier: Apache-2.0
// Times training steps of calo-diffusion: the counterpart of torch_unet.py, which prints the same line.
//
//   calo_diffusion_step step [--preset tiny] [--cells 25 25 25] [--precision ...] [--batch B] [--threads T]
//   calo_diffusion_step check --out FILE     weights, inputs, loss and gradient norm of one step, for the peer to repeat

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn_like.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/tasks/shower_simulation/shower_diffusion.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "bunchtrain/weights/safetensors.hpp"

namespace {

namespace bt = bunchtrain;

struct Arguments {
  std::string task, preset = "tiny", precision = "float32", out;
  std::vector<std::int64_t> cells = {25, 25, 25};
  std::int64_t batch = 16;
  int threads = 2, repetitions = 5, warmup = 2;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Times training steps of calo-diffusion");
  app.add_option("task", arguments.task)->required()->check(CLI::IsMember({"step", "check"}));
  app.add_option("--preset", arguments.preset);
  app.add_option("--cells", arguments.cells)->expected(3);
  app.add_option("--precision", arguments.precision);
  app.add_option("--batch", arguments.batch);
  app.add_option("--threads", arguments.threads);
  app.add_option("--repetitions", arguments.repetitions);
  app.add_option("--warmup", arguments.warmup);
  app.add_option("--out", arguments.out, "check: the file to write");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return arguments;
}

bt::models::CaloDiffusion make_network(const Arguments& arguments) {
  auto options = bt::models::CaloDiffusionOptions::preset(arguments.preset);
  std::copy(arguments.cells.begin(), arguments.cells.end(), options.cells.begin());
  return bt::models::CaloDiffusion(options);
}

/// Showers of which four cells in five are empty.
bt::Batch random_batch(const Arguments& arguments) {
  const auto& cells = arguments.cells;
  const at::Tensor image = at::rand({arguments.batch, cells[0], cells[1], cells[2]});
  bt::Batch batch;
  batch.tensors = {{"image", image * (at::rand(image.sizes()) < 0.2)},
                   {"energy", at::rand({arguments.batch}) * 90 + 10}};
  batch.sample_ids = at::arange(arguments.batch);
  batch.global_samples = arguments.batch;
  return batch;
}

double time_step(const Arguments& arguments) {
  auto network = make_network(arguments);
  auto world = bt::comm::Communicator::self();
  bt::parallel::DataParallel parallel(network, world);
  bt::optim::AdamW optimizer(parallel, {.learning_rate = 1e-3});
  const bt::nn::Objective objective = bt::shower_simulation::diffusion_objective();
  const bt::Batch batch = random_batch(arguments);
  std::vector<double> seconds;
  for (int repetition = 0; repetition < arguments.warmup + arguments.repetitions; ++repetition) {
    const auto start = std::chrono::steady_clock::now();
    {
      const bt::device::PrecisionGuard guard(bt::device::parse_precision(arguments.precision), at::kCPU);
      const bt::nn::StepContext context(1, repetition, batch.sample_ids);
      parallel.run({.batch = batch, .objective = objective, .global_samples = arguments.batch});
      parallel.finish();
      optimizer.step();
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (repetition >= arguments.warmup) seconds.push_back(elapsed.count());
  }
  std::ranges::sort(seconds);
  return seconds.at(seconds.size() / 2);
}

/// One step with weights that are all of them drawn: what the network starts with says nothing yet. PyTorch's transposed
/// convolution has one bias per channel, ours one per cell of the eight that it makes: zero here.
void check(const Arguments& arguments) {
  auto network = make_network(arguments);
  {
    const at::NoGradGuard no_gradients;
    for (auto& parameter : network->named_parameters()) {
      if (parameter.key().ends_with("bias")) parameter.value().zero_();
      if (parameter.key() == "head.convolution.weight" || parameter.key() == "layers.third.weight")
        parameter.value().copy_(at::randn_like(parameter.value()) * 0.05);
    }
  }
  const bt::Batch batch = random_batch(arguments);
  const bt::device::PrecisionGuard guard(bt::device::parse_precision(arguments.precision), at::kCPU);
  const bt::nn::StepContext context(1, 0, batch.sample_ids);
  bt::NamedTensors values = batch.tensors;
  for (const bt::nn::Unit& unit : network->units()) bt::nn::call(unit, values);
  const at::Tensor loss = (values["cells"].to(at::kFloat) - values["cells_target"]).square().mean() +
                          0.1 * (values["layers"].to(at::kFloat) - values["layers_target"]).square().mean();
  loss.backward();
  double squares = 0;
  for (const auto& parameter : network->named_parameters())
    if (!(parameter.key().starts_with("grow") && parameter.key().ends_with("bias")))
      squares += parameter.value().grad().square().sum().item<double>();
  bt::NamedTensors file = bt::weights::named_state(*network);
  for (const char* name : {"cells_in", "cells_known", "cells_target", "layers_known", "layers_target"})
    file.set(std::string("input.") + name, values[name].to(at::kFloat).contiguous());
  bt::weights::write_safetensors(arguments.out, {.tensors = file, .metadata = {}});
  fmt::print("loss {:.9g}\ngradient {:.9g}\n", loss.item<double>(), std::sqrt(squares));
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  bt::device::keep_freed_memory();
  at::set_num_threads(arguments.threads);
  at::manual_seed(1);
  try {
    if (arguments.task == "check") {
      check(arguments);
      return 0;
    }
    const double seconds = time_step(arguments);
    fmt::print("bunchtrain {} {} batch {} threads {}: {:.2f} ms {:.2f} showers/s\n", arguments.preset,
               arguments.precision, arguments.batch, arguments.threads, 1e3 * seconds,
               static_cast<double>(arguments.batch) / seconds);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
