// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/generate_showers.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <fmt/format.h>

#include <algorithm>
#include <numbers>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/shower_writer.hpp"
#include "bunchtrain/nn/keyed_random.hpp"
#include "bunchtrain/ops/shower_observables.hpp"

namespace bunchtrain::shower_simulation {
namespace {

constexpr std::uint64_t kEnergy = 1, kTheta = 2;

/// [n] between both bounds, the numbers of `context`'s showers.
at::Tensor draw(const nn::StepContext& context, std::uint64_t site, double lowest, double highest) {
  return nn::keyed_uniform(context, site, 1).squeeze(1) * (highest - lowest) + lowest;
}

}  // namespace

void GenerateShowersOptions::validate() const {
  if (count < 1) throw ConfigError("count", fmt::format("{}", count), "at least one shower");
  if (batch < 1) throw ConfigError("batch", fmt::format("{}", batch), "at least one shower");
  if (!(lowest_energy > 0 && lowest_energy <= highest_energy))
    throw ConfigError("energy", fmt::format("{}:{}", lowest_energy, highest_energy),
                      "two positive energies in GeV, the lower one first");
  if (!(lowest_theta > 0 && lowest_theta <= highest_theta && highest_theta < std::numbers::pi))
    throw ConfigError("theta", fmt::format("{}:{} rad", lowest_theta, highest_theta),
                      "two angles between 0 and 180 degrees, the lower one first");
}

void generate_showers(const OutputFile& output, ShowerSource& source, const GenerateShowersOptions& options,
                      const std::function<void(std::int64_t showers)>& progress) {
  options.validate();
  const bool inclined = source.needs_theta();
  data::ShowerWriter file(
      output, {.inclined = inclined,
               .description = fmt::format("showers of a {} trained by bunchtrain", source.network()),
               .seed = options.seed});
  for (std::int64_t first = 0; first < options.count; first += options.batch) {
    const std::int64_t count = std::min(options.batch, options.count - first);
    const at::Tensor showers = at::arange(first, first + count, at::kLong);
    const nn::StepContext context(options.seed, 0, showers);
    NamedTensors made;
    made.set("energy", draw(context, kEnergy, options.lowest_energy, options.highest_energy));
    const at::Tensor theta =
        inclined ? draw(context, kTheta, options.lowest_theta, options.highest_theta) : at::Tensor();
    made.set("image", source.make(showers, made["energy"], theta));
    if (inclined) {
      made.set("theta", theta);
      made.set("measured_theta", ops::ecal_angle(made["image"]));
    }
    file.append(made);
    if (progress) progress(first + count);
  }
  file.commit();
}

void generate_showers(const std::filesystem::path& path, ShowerSource& source,
                      const GenerateShowersOptions& options,
                      const std::function<void(std::int64_t showers)>& progress) {
  generate_showers(OutputFile{.path = path, .force = true}, source, options, progress);
}

}  // namespace bunchtrain::shower_simulation
