// SPDX-License-Identifier: Apache-2.0
// Times 3DGAN's training step and its generation of showers: the counterpart of torch_gan.py, with the same
// options and the same output.
//
//   shower_gan_benchmark step|generate [--variant fixed|angle] [--precision ...] [--batch B] [--threads T]
//   ... shower_gan_benchmark check --oracle FILE      the losses of one step from given weights and inputs

#include <ATen/Parallel.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/nn/keyed_random.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "gan_parts.hpp"

namespace {

namespace bt = bunchtrain;
using gan_benchmark::GanParts;

struct Arguments {
  std::string task, variant_name = "fixed", precision_name = "float32", oracle;
  std::int64_t batch = 16;
  int threads = 2, repetitions = 5, warmup = 2;

  bt::models::ShowerVariant variant() const { return bt::models::parse_shower_variant(variant_name); }
  bt::device::PrecisionGuard guard() const { return {bt::device::parse_precision(precision_name), at::kCPU}; }
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Times 3DGAN's training step and generation");
  app.add_option("task", arguments.task)->required()->check(CLI::IsMember({"step", "generate", "check"}));
  app.add_option("--variant", arguments.variant_name)->check(CLI::IsMember({"fixed", "angle"}));
  app.add_option("--precision", arguments.precision_name);
  app.add_option("--batch", arguments.batch);
  app.add_option("--threads", arguments.threads);
  app.add_option("--repetitions", arguments.repetitions);
  app.add_option("--warmup", arguments.warmup);
  app.add_option("--oracle", arguments.oracle, "check: the file with weights and inputs");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return arguments;
}

/// Median of the repetitions after the warm-up, seconds. `work` is told how often it ran before.
double measure(const Arguments& arguments, const std::function<void(int)>& work) {
  std::vector<double> seconds;
  for (int repetition = 0; repetition < arguments.warmup + arguments.repetitions; ++repetition) {
    const auto start = std::chrono::steady_clock::now();
    work(repetition);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (repetition >= arguments.warmup) seconds.push_back(elapsed.count());
  }
  std::ranges::sort(seconds);
  return seconds.at(seconds.size() / 2);
}

double time_step(const Arguments& arguments) {
  GanParts gan(arguments.variant(), 0.2);
  const bt::Batch batch = gan_benchmark::random_batch(arguments.variant(), arguments.batch);
  return measure(arguments, [&](int repetition) {
    const auto guard = arguments.guard();
    const bt::nn::StepContext context(1, repetition, batch.sample_ids);
    gan.step()(batch);
  });
}

double time_generation(const Arguments& arguments) {
  const auto variant = arguments.variant();
  GanParts gan(variant, 0.2);
  const bt::Batch batch = gan_benchmark::random_batch(variant, arguments.batch);
  return measure(arguments, [&](int repetition) {
    const auto guard = arguments.guard();
    const bt::nn::StepContext context(1, repetition, batch.sample_ids);
    const at::Tensor noise = bt::nn::keyed_normal(context, 0, bt::models::noise_size(variant));
    const at::Tensor latent = bt::models::make_latent(variant, noise, batch["energy"], batch["theta"]);
    bt::models::to_gev(variant, gan.step().generate(latent).to(at::kFloat));
  });
}

void print(const char* pass, const bt::models::ShowerLosses& losses) {
  fmt::print("{}", pass);
  for (const auto& term : {losses.total, losses.generation, losses.energy, losses.angle, losses.sum})
    if (term.defined()) fmt::print(" {:.9g}", term.item<double>());
  fmt::print("\n");
}

/// One step without dropout from the weights and inputs of a file: all losses, to be equal to the peer's.
void check(const Arguments& arguments) {
  const bt::NamedTensors given = bt::weights::read_safetensors(arguments.oracle).tensors;
  const bool angle = arguments.variant() == bt::models::ShowerVariant::variable_angle;
  GanParts gan(arguments.variant(), 0);
  gan.load(given);
  const at::Tensor& latent = given["input.latent"];
  const std::int64_t samples = latent.size(1);
  const auto fake_targets = [&](std::int64_t pass, const at::Tensor& labels) {
    bt::models::ShowerTargets targets{.real = labels,
                                      .energy = given["input.fake_target.aux"][pass],
                                      .angle = {},
                                      .sum = given["input.fake_target.ecal"][pass],
                                      .counts = {}};
    if (angle) targets.angle = given["input.fake_target.angle"][pass];
    return targets;
  };
  bt::models::ShowerTargets real{.real = given["label.d_real"],
                                 .energy = given["input.real_target.aux"],
                                 .angle = {},
                                 .sum = given["input.real_target.ecal"],
                                 .counts = {}};
  if (angle) real.angle = given["input.real_target.angle"];

  const auto guard = arguments.guard();
  const bt::shower_simulation::PassCounts counts{samples, samples};
  const at::Tensor fakes = gan.step().generate(latent[0]);
  print("d_real", gan.step().train_discriminator(given["input.image"].squeeze(1), real, counts));
  print("d_fake", gan.step().train_discriminator(fakes, fake_targets(0, given["label.d_fake"]), counts));
  print("g1", gan.step().train_generator(latent[1], fake_targets(1, at::ones({samples})), counts));
  print("g2", gan.step().train_generator(latent[2], fake_targets(2, at::ones({samples})), counts));
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  bt::device::keep_freed_memory();
  at::set_num_threads(arguments.threads);
  try {
    if (arguments.task == "check") {
      check(arguments);
      return 0;
    }
    const double seconds = arguments.task == "step" ? time_step(arguments) : time_generation(arguments);
    fmt::print("bunchtrain {} {} {} batch {} threads {}: {:.2f} ms {:.2f} showers/s {:.0f} MiB\n",
               arguments.task, arguments.variant_name, arguments.precision_name, arguments.batch,
               arguments.threads, 1e3 * seconds, static_cast<double>(arguments.batch) / seconds, peak_mib());
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
