// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tasks/shower_simulation/shower_source.hpp"

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

constexpr const char* kNetwork = "generator";
constexpr const char* kGenerator = "generator-model";
constexpr std::uint64_t kNoise = 0x73686f776572;  // "shower"

/// The generator's part of a snapshot of a 3DGAN run.
checkpoint::Snapshot load_generator(const std::string& run, const ShowerSourceOptions& options) {
  const auto folder = train::RunFolder::existing(run);
  const auto alone = comm::Communicator::create(mpi::Comm::self(), c10::kCPU);
  const checkpoint::Store store(folder.checkpoints(), alone);
  auto snapshot = store.load(options.checkpoint, {kGenerator});
  if (!snapshot)
    throw CheckpointError(fmt::format("{} has no snapshot yet: let the training finish an epoch first",
                                      folder.checkpoints().string()));
  NamedTensors& weights = snapshot->components.at(kGenerator).tensors;
  if (options.averaged) weights = train::averaged_weights(store, snapshot->info, weights, kNetwork);
  return std::move(*snapshot);
}

/// A generator with its weights, and what it has seen if that is known.
struct OpenedGenerator {
  models::ShowerGenerator network;
  std::optional<EnergyRange> energies = {};
};

OpenedGenerator load(const std::map<std::string, std::string>& metadata, const NamedTensors& weights,
                     const std::string& path) {
  const ShowerDescription description = parse_shower_description(metadata, path);
  OpenedGenerator opened{.network = models::ShowerGenerator(description.generator),
                         .energies = description.energies};
  weights::load_into(*opened.network, weights, path);
  return opened;
}

OpenedGenerator from_run(const std::string& path, const ShowerSourceOptions& options) {
  const auto snapshot = load_generator(path, options);
  return load(snapshot.info.metadata, snapshot.components.at(kGenerator).tensors, path);
}

OpenedGenerator from_bundle(const std::string& path) {
  weights::Bundle bundle = weights::read_bundle(path);
  if (!bundle.model.empty()) bundle.metadata["model"] = bundle.model;
  return load(bundle.metadata, bundle.weights, path);
}

OpenedGenerator from_file(const std::string& path) {
  const auto variant = generator_variant(path);
  models::ShowerGenerator network(models::ShowerGeneratorOptions{.variant = variant});
  weights::load_into(*network, read_shower_weights(path, variant, models::ShowerNetwork::generator), path);
  return {.network = network};
}

OpenedGenerator open_any(const std::string& path, const ShowerSourceOptions& options) {
  if (weights::is_bundle(path)) return from_bundle(path);
  return std::filesystem::is_directory(path) ? from_run(path, options) : from_file(path);
}

}  // namespace

ShowerSource::ShowerSource(models::ShowerGenerator generator, const ShowerSourceOptions& options)
    : generator_(std::move(generator)), options_(options) {}

ShowerSource ShowerSource::open(const std::string& path, const ShowerSourceOptions& options) {
  if (!std::filesystem::exists(path))
    throw ConfigError("model", path,
                      "a run folder of train_3dgan, a bundle, a safetensors file or a Keras weight file");
  OpenedGenerator opened = open_any(path, options);
  opened.network->to(options.device);
  opened.network->eval();
  ShowerSource source(std::move(opened.network), options);
  source.trained_energies_ = opened.energies;
  return source;
}

at::Tensor ShowerSource::make(const at::Tensor& showers, const at::Tensor& energy, const at::Tensor& theta) {
  const at::NoGradGuard no_gradients;
  const device::PrecisionGuard precision(options_.precision, options_.device.type());
  const auto weights = generator_->parameters().front().options();
  const auto context = nn::StepContext(options_.seed, 0, showers);
  const at::Tensor noise = nn::keyed_normal(context, kNoise, models::noise_size(variant()));
  const at::Tensor latent = models::make_latent(variant(), noise, energy.cpu().to(at::kFloat),
                                                theta.defined() ? theta.cpu().to(at::kFloat) : theta);
  const at::Tensor image = generator_->forward(latent.to(weights.device(), weights.dtype().toScalarType()));
  return models::to_gev(variant(), image.to(at::kFloat)).cpu();
}

shower_comparison::OpenGenerator open_generator(const ShowerSourceOptions& options) {
  return [options](const std::string& path) -> shower_comparison::CandidateGenerator {
    const auto source = std::make_shared<ShowerSource>(ShowerSource::open(path, options));
    return {.cells = models::shower_shape(source->variant()),
            .needs_theta = source->variant() == models::ShowerVariant::variable_angle,
            .make = [source](const at::Tensor& showers, const at::Tensor& energy, const at::Tensor& theta) {
              return source->make(showers, energy, theta);
            }};
  };
}

}  // namespace bunchtrain::shower_simulation
