// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/shower_diffusion.hpp"

#include <ATen/TensorOperators.h>
#include <fmt/format.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <sstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/models/3dgan/variant.hpp"
#include "bunchtrain/parallel/activation_budget.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/parallel/pipeline_parallel.hpp"
#include "bunchtrain/parallel/unit_profile.hpp"
#include "bunchtrain/train/session_choices.hpp"
#include "shower_description.hpp"
#include "training_showers.hpp"

namespace bunchtrain::shower_simulation {
namespace {

constexpr double kLayerWeight = 0.1;
constexpr std::int64_t kFittedShowers = 2048;

/// What a pass of this rank has at most.
std::int64_t samples_per_pass(const train::Session& session) {
  for (const char* name : {"batch", "accumulate"}) session.use(name);
  const train::TrainingChoices& choices = session.asked().training;
  const std::int64_t passes = session.mesh().size(comm::Axis::data) * choices.accumulate.value;
  return (choices.batch.value + passes - 1) / passes;
}

/// Rank 0 measures and chooses for all.
void recompute_within(const train::Session& session, const ShowerDiffusionOptions& options,
                      models::CaloDiffusionImpl& network) {
  constexpr std::int64_t kMeasured = 4;
  std::string names;
  session.control().together([&] {
    if (session.control().rank() != 0) return;
    NamedTensors example;
    const c10::Device device = network.parameters().front().device();
    for (const auto& [name, tensor] : network.example_inputs(kMeasured))
      example.set(name, tensor.to(device, network.parameters().front().scalar_type()));
    const std::int64_t samples = samples_per_pass(session);
    const auto choice = parallel::choose_recomputed(parallel::profile_units(network, example), samples,
                                                    options.activation_bytes);
    names = fmt::format("{}", fmt::join(choice.recomputed, " "));
    session.logger().info(fmt::format(
        "activations of {} showers: {}B at most, {} of {} units computed again{}{}, {:.1f} ms more per pass by prediction",
        samples, format_count(choice.bytes), choice.recomputed.size(), network.units().size(),
        names.empty() ? "" : ": ", names, 1e3 * choice.extra_seconds));
  });
  std::istringstream words(session.control().broadcast(names));
  network.recompute({std::istream_iterator<std::string>(words), {}});
}

/// Of no showers 0, which has a gradient too: all ranks name the same terms.
at::Tensor mean_square(const at::Tensor& difference) {
  return difference.numel() > 0 ? difference.square().mean() : difference.sum();
}

}  // namespace

data::DatasetSplit open_physical_showers(train::Session& session, const ShowerDiffusionOptions& options) {
  if (options.files.data.empty()) session.use("inclined");
  const auto variant =
      options.inclined ? models::ShowerVariant::variable_angle : models::ShowerVariant::fixed_angle;
  return open_training_showers(
      session,
      {.files = options.files,
       .physical = true,
       .showers = options.showers,
       .simulated = {.showers = {.cells = models::shower_shape(variant), .inclined = options.inclined}}});
}

models::CaloDiffusion create_calo_diffusion(const train::Session& session,
                                            const ShowerDiffusionOptions& options,
                                            const data::Dataset& train) {
  for (const char* name : {"preset", "channels", "attention"}) session.use(name);
  const NamedTensors some = some_showers(train, kFittedShowers, {"image", "energy", "theta"});
  const at::Tensor& image = some["image"];
  if (image.dim() != 4)
    throw ConfigError("card", train.summary().card.empty() ? "simulated" : "of the files",
                      "showers on one grid [x, y, z]: calo-diffusion cuts images into cells of equal size");
  models::CaloDiffusionOptions network = models::CaloDiffusionOptions::preset(options.preset);
  network.cells = {image.size(1), image.size(2), image.size(3)};
  network.inclined = some.contains("theta");
  if (!options.channels.empty()) network.channels = options.channels;
  network.attention = options.attention;
  network.seed = session.seed();
  models::CaloDiffusion module(network);
  module->set_normalisation(
      models::ShowerNormalisation::fit(image.to(at::kFloat), some["energy"].to(at::kFloat)));
  if (session.precision() == device::Precision::float64) module->to(at::kDouble);
  return module;
}

std::unique_ptr<parallel::Engine> create_diffusion_engine(const train::Session& session,
                                                          const ShowerDiffusionOptions& options,
                                                          models::CaloDiffusion& network) {
  const comm::Mesh mesh = session.mesh();
  const bool has_slabs = mesh.size(comm::Axis::spatial) > 1;
  session.use("activation-bytes");
  if (options.activation_bytes > 0 && has_slabs)
    throw ConfigError("activation_bytes", fmt::format("{:g}", options.activation_bytes),
                      "0 with slabs: more slabs leave less in each");
  if (mesh.size(comm::Axis::pipeline) == 1) {
    auto replicas =
        std::make_unique<parallel::DataParallel>(network, session.world(), train::parallel_options(session));
    if (options.activation_bytes > 0) recompute_within(session, options, *network);
    return replicas;
  }
  if (options.activation_bytes > 0)
    throw ConfigError("activation_bytes", fmt::format("{:g}", options.activation_bytes),
                      "0 with stages: more stages or microbatches leave less in each");
  if (has_slabs)
    throw ConfigError(
        "mesh", mesh.shape().to_string(),
        "stages (pipeline) or slabs (spatial) beside replicas (data): nothing here trains along both");
  for (const char* name : {"pipeline-schedule", "microbatches"}) session.use(name);
  const parallel::DataParallelOptions common = train::parallel_options(session);
  return std::make_unique<parallel::PipelineParallel>(
      network, mesh,
      parallel::PipelineOptions{.kind = options.schedule,
                                .microbatches = static_cast<int>(options.microbatches),
                                .example = network->example_inputs(4),
                                .device = common.device,
                                .dtype = common.dtype,
                                .logger = session.logger()});
}

nn::Objective diffusion_objective() {
  return [](const NamedTensors& outputs, const Batch& /*batch*/) -> nn::Losses {
    const at::Tensor cells = mean_square(outputs["cells"] - outputs["cells_target"]);
    const at::Tensor layers = mean_square(outputs["layers"] - outputs["layers_target"]);
    return {cells + kLayerWeight * layers, {{"cells", cells}, {"layers", layers}}};
  };
}

std::map<std::string, std::string> diffusion_metadata(const data::Dataset& train) {
  const at::Tensor energy = some_showers(train, kFittedShowers, {"energy"})["energy"];
  return to_metadata(
      EnergyRange{.lowest = energy.min().item<double>(), .highest = energy.max().item<double>()});
}

}  // namespace bunchtrain::shower_simulation
