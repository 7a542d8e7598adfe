// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/generate_showers.hpp"

#include <fmt/format.h>

#include <chrono>
#include <numbers>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/device/device.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/report/progress.hpp"
#include "number_range.hpp"
#include "subcommand.hpp"

namespace bunchtrain::tool {
namespace {

constexpr double kRadPerDegree = std::numbers::pi / 180;

shower_simulation::GenerateShowersOptions shower_options(const config::Options& given) {
  const NumberRange energy = parse_range("energy", given.get<std::string>("energy"));
  const NumberRange theta = parse_range("theta", given.get<std::string>("theta"));
  shower_simulation::GenerateShowersOptions options{
      .count = given.get<std::int64_t>("count"),
      .lowest_energy = energy.low,
      .highest_energy = energy.high,
      .lowest_theta = theta.low * kRadPerDegree,
      .highest_theta = theta.high * kRadPerDegree,
      .batch = given.get<std::int64_t>("batch"),
      .seed = static_cast<std::uint64_t>(given.get<std::int64_t>("seed"))};
  options.validate();
  return options;
}

models::DiffusionSamplingOptions sampling_options(const config::Options& given) {
  models::DiffusionSamplingOptions options{
      .sampler = models::parse_diffusion_sampler(given.get<std::string>("sampler")),
      .steps = given.get<std::int64_t>("steps")};
  options.validate();
  return options;
}

shower_simulation::ShowerSource open_source(const config::Options& given, std::uint64_t seed) {
  const auto model = given.get<std::string>("model");
  if (model.empty())
    throw ConfigError(
        "model", "",
        "a run folder of train_3dgan or train_calo_diffusion, a bundle, a safetensors file or a Keras "
        "weight file");
  const auto device = device::choose_device(device::parse_device(given.get<std::string>("device")), 0, {});
  const auto precision = device::parse_precision(given.get<std::string>("precision"));
  device::require_supported(precision, device.type());
  return shower_simulation::ShowerSource::open(model, {.device = device,
                                                       .precision = precision,
                                                       .seed = seed,
                                                       .checkpoint = given.get<std::string>("checkpoint"),
                                                       .averaged = given.get<std::string>("average") == "on",
                                                       .sampling = sampling_options(given)});
}

/// An option that the network cannot follow would be a promise.
void require_used(const shower_simulation::ShowerSource& source, const config::Options& given) {
  for (const char* name : {"sampler", "steps"})
    if (given.given(name) && !source.is_sampled())
      throw ConfigError(
          name, "", "nothing: a 3DGAN makes showers in one pass (calo-diffusion takes noise off in steps)");
  if (given.given("theta") && !source.needs_theta())
    throw ConfigError(
        "theta", given.get<std::string>("theta"),
        "nothing: this generator was trained at one angle and has no other (train_3dgan --variant "
        "angle makes one that has)");
}

/// A network says nothing sensible of energies that it has never seen. Those of the training showers lie a
/// little inside the range that they were drawn from.
void warn_outside(const shower_simulation::ShowerSource& source,
                  const shower_simulation::GenerateShowersOptions& options) {
  const auto& trained = source.trained_energies();
  if (!trained) return;
  const double slack = 0.01 * (trained->highest - trained->lowest);
  if (options.lowest_energy >= trained->lowest - slack && options.highest_energy <= trained->highest + slack)
    return;
  fmt::print(
      stderr,
      "warning: energies from {:.4g} to {:.4g} GeV are asked for, the network was trained from {:.4g} to "
      "{:.4g} GeV: showers outside are extrapolated\n",
      options.lowest_energy, options.highest_energy, trained->lowest, trained->highest);
}

void generate(const config::Options& given) {
  const auto out = given.get<std::string>("out");
  require_out(given);
  const auto options = shower_options(given);
  device::keep_freed_memory();
  shower_simulation::ShowerSource source = open_source(given, options.seed);
  require_used(source, given);
  warn_outside(source, options);
  const auto start = std::chrono::steady_clock::now();
  bunchtrain::report::Progress progress({.samples = "showers"});
  shower_simulation::generate_showers(OutputFile{.path = out,
                                                 .option = "out",
                                                 .inputs = {given.get<std::string>("model")},
                                                 .force = given.get<bool>("force")},
                                      source, options, [&](std::int64_t showers) {
                                        progress.update_phase("showers", showers, options.count);
                                      });
  progress.close();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}: {} {} showers in {:.1f} s ({} showers/s, writing included)\n", out,
             bunchtrain::format_integer(options.count), source.network(), seconds,
             bunchtrain::format_count(static_cast<double>(options.count) / seconds));
}

}  // namespace

int generate_showers(int argc, char** argv) {
  config::Options options(
      "bunchtrain generate showers",
      "Makes calorimeter showers with a trained 3DGAN or calo-diffusion, in the layout of the LCD files.");
  options.declare(
      {{"model", std::string{}, "run folder, bundle, safetensors or Keras weight file of a generator",
        "RUN_OR_WEIGHTS"},
       {"sampler",
        std::string{"dpm"},
        "of calo-diffusion: dpm (DPM-Solver++), ddim, or heun, which asks the network twice per step",
        "",
        {"dpm", "ddim", "heun"}},
       {"steps", std::int64_t{32}, "of the sampler of calo-diffusion", "N"},
       {"checkpoint", std::string{"best"}, "of a run: best, latest or one by its name (step-000042)", "NAME"},
       {"average",
        std::string{"on"},
        "the averaged weights of a run with --ema, or off: those that were trained",
        "",
        {"on", "off"}},
       {"out", std::string{}, "file to write", "FILE"},
       {"force", false, "replace a file that something else wrote"},
       {"count", std::int64_t{10000}, "number of showers"},
       {"energy", std::string{"10:100"}, "primary energies in GeV, uniform between both", "LOW:HIGH"},
       {"theta", std::string{"60:120"},
        "variable angle: degrees to the calorimeter's face, uniform between both", "LOW:HIGH"},
       {"batch", std::int64_t{64}, "showers made at a time"},
       {"seed", std::int64_t{1}, "the same seed makes the same showers"},
       {"precision",
        std::string{"float32"},
        "numbers of the network",
        "",
        {"float32", "tf32", "bfloat16", "float16"}},
       {"device", std::string{"auto"}, "where to compute", "", {"auto", "cpu", "cuda"}}});
  return run_subcommand(std::move(options), argc, argv, generate);
}

}  // namespace bunchtrain::tool
