// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"

#include <ATen/ops/isfinite.h>
#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/keyed_random.hpp"
#include "bunchtrain/train/detail/averaged_weights.hpp"
#include "bunchtrain/train/run_folder.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "shower_description.hpp"
#include "shower_weights.hpp"

namespace bunchtrain::shower_simulation {
namespace {

// Networks of runs, and where snapshots keep their weights: of a 3DGAN the generator is one of two.
constexpr const char* kGenerator = "generator";
constexpr const char* kOnly = "model";
constexpr std::uint64_t kNoise = 0x73686f776572;  // "shower"
constexpr std::uint64_t kLayerNoise = kNoise + 1;

std::string component_of(const std::string& network) {
  return network == kOnly ? network : network + "-model";
}

/// The network of a run that makes showers: the only one, if snapshots have one.
std::string network_of(const std::filesystem::path& checkpoints) {
  if (std::filesystem::is_directory(checkpoints))
    for (const auto& snapshot : std::filesystem::directory_iterator(checkpoints))
      if (std::filesystem::exists(snapshot.path() / "model.safetensors")) return kOnly;
  return kGenerator;
}

/// Of a snapshot of a run the part that makes showers.
struct LoadedNetwork {
  std::map<std::string, std::string> metadata;
  NamedTensors weights;
};

LoadedNetwork load_network(const std::string& run, const ShowerSourceOptions& options) {
  const auto folder = train::RunFolder::existing(run);
  const auto alone = comm::Communicator::create(mpi::Comm::self(), c10::kCPU);
  const checkpoint::Store store(folder.checkpoints(), alone);
  const std::string network = network_of(folder.checkpoints()), component = component_of(network);
  const auto snapshot = store.load(options.checkpoint, {component});
  if (!snapshot)
    throw CheckpointError(fmt::format("{} has no snapshot yet: let the training finish an epoch first",
                                      folder.checkpoints().string()));
  NamedTensors weights = snapshot->components.at(component).tensors;
  if (options.averaged)
    weights = train::averaged_weights(store, snapshot->info, weights, network == kOnly ? "" : network);
  return {.metadata = snapshot->info.metadata, .weights = std::move(weights)};
}

/// A network with its weights as a source, and what it has seen if that is known.
struct OpenedSource {
  ShowerSource source;
  std::optional<EnergyRange> energies = {};
};

template <class Network>
ShowerSource with_weights(Network network, const NamedTensors& weights, const std::string& path,
                          const ShowerSourceOptions& options) {
  weights::load_into(*network, weights, path);
  network->to(options.device);
  network->eval();
  return ShowerSource(std::move(network), options);
}

OpenedSource load(const std::map<std::string, std::string>& metadata, const NamedTensors& weights,
                  const std::string& path, const ShowerSourceOptions& options) {
  const ShowerDescription description = parse_shower_description(metadata, path);
  return {
      .source = description.diffusion
                    ? with_weights(models::CaloDiffusion(*description.diffusion), weights, path, options)
                    : with_weights(models::ShowerGenerator(description.generator), weights, path, options),
      .energies = description.energies};
}

OpenedSource from_run(const std::string& path, const ShowerSourceOptions& options) {
  const LoadedNetwork loaded = load_network(path, options);
  return load(loaded.metadata, loaded.weights, path, options);
}

OpenedSource from_bundle(const std::string& path, const ShowerSourceOptions& options) {
  weights::Bundle bundle = weights::read_bundle(path);
  if (!bundle.model.empty()) bundle.metadata["model"] = bundle.model;
  return load(bundle.metadata, bundle.weights, path, options);
}

OpenedSource from_file(const std::string& path, const ShowerSourceOptions& options) {
  const auto variant = generator_variant(path);
  return {.source = with_weights(models::ShowerGenerator(models::ShowerGeneratorOptions{.variant = variant}),
                                 read_shower_weights(path, variant, models::ShowerNetwork::generator), path,
                                 options)};
}

OpenedSource open_any(const std::string& path, const ShowerSourceOptions& options) {
  if (weights::is_bundle(path)) return from_bundle(path, options);
  return std::filesystem::is_directory(path) ? from_run(path, options) : from_file(path, options);
}

/// @param image [n, X, Y, Z] GeV @param numbers [n] of its showers
void require_finite(const at::Tensor& image, const at::Tensor& numbers) {
  const at::Tensor bad = at::isfinite(image).logical_not().flatten(1).sum(1);
  const auto cells = bad.sum().item<std::int64_t>();
  if (cells == 0) return;
  const at::Tensor showers = bad.nonzero().flatten();
  throw CheckpointError(fmt::format(
      "the generator makes {} cells of {} showers that are NaN or infinite, the first ones in "
      "shower {} ({} of its {} cells); nothing was written. Its weights are lost, or the energies are far "
      "from those it was trained on: take another checkpoint",
      cells, showers.size(0), numbers[showers[0]].item<std::int64_t>(), bad[showers[0]].item<std::int64_t>(),
      image[0].numel()));
}

}  // namespace

ShowerSource::ShowerSource(models::ShowerGenerator generator, const ShowerSourceOptions& options)
    : options_(options),
      network_("3DGAN"),
      cells_(models::shower_shape(generator->options().variant)),
      needs_theta_(generator->options().variant == models::ShowerVariant::variable_angle),
      is_sampled_(false),
      maker_([generator](const nn::StepContext& noise, const at::Tensor& energy,
                         const at::Tensor& theta) mutable {
        const auto variant = generator->options().variant;
        const auto weights = generator->parameters().front().options();
        const at::Tensor latent = models::make_latent(
            variant, nn::keyed_normal(noise, kNoise, models::noise_size(variant)), energy, theta);
        const at::Tensor image =
            generator->forward(latent.to(weights.device(), weights.dtype().toScalarType()));
        return models::to_gev(variant, image.to(at::kFloat));
      }) {}

ShowerSource::ShowerSource(models::CaloDiffusion network, const ShowerSourceOptions& options)
    : options_(options),
      network_("calo-diffusion"),
      cells_(network->options().cells),
      needs_theta_(network->options().inclined),
      is_sampled_(true),
      maker_([network, sampling = options.sampling](const nn::StepContext& noise, const at::Tensor& energy,
                                                    const at::Tensor& theta) mutable {
        const auto& cells = network->options().cells;
        const auto weights = network->parameters().front().options();
        const auto there = [&](const at::Tensor& tensor) {
          return tensor.defined() ? tensor.to(weights.device(), weights.dtype().toScalarType()) : tensor;
        };
        const at::Tensor of_layers = nn::keyed_normal(noise, kLayerNoise, cells[2]);
        const at::Tensor of_cells = nn::keyed_normal(noise, kNoise, cells[0] * cells[1] * cells[2]);
        return models::sample_showers(*network, {.energy = there(energy), .theta = there(theta)},
                                      there(of_layers),
                                      there(of_cells).view({-1, cells[0], cells[1], cells[2]}), sampling)
            .to(at::kFloat);
      }) {}

ShowerSource ShowerSource::open(const std::string& path, const ShowerSourceOptions& options) {
  if (!std::filesystem::exists(path))
    throw ConfigError(
        "model", path,
        "a run folder of train_3dgan or train_calo_diffusion, a bundle, a safetensors file or a Keras "
        "weight file");
  OpenedSource opened = open_any(path, options);
  opened.source.trained_energies_ = opened.energies;
  return std::move(opened.source);
}

at::Tensor ShowerSource::make(const at::Tensor& showers, const at::Tensor& energy, const at::Tensor& theta) {
  const at::NoGradGuard no_gradients;
  const device::PrecisionGuard precision(options_.precision, options_.device.type());
  const nn::StepContext context(options_.seed, 0, showers);
  const at::Tensor image =
      maker_(context, energy.cpu().to(at::kFloat), theta.defined() ? theta.cpu().to(at::kFloat) : theta)
          .cpu();
  require_finite(image, showers);
  return image;
}

shower_comparison::OpenGenerator open_generator(const ShowerSourceOptions& options) {
  return [options](const std::string& path) -> shower_comparison::CandidateGenerator {
    const auto source = std::make_shared<ShowerSource>(ShowerSource::open(path, options));
    return {.cells = source->cells(),
            .needs_theta = source->needs_theta(),
            .make = [source](const at::Tensor& showers, const at::Tensor& energy, const at::Tensor& theta) {
              return source->make(showers, energy, theta);
            }};
  };
}

}  // namespace bunchtrain::shower_simulation
