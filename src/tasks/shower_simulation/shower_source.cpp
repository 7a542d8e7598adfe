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

}  // namespace

ShowerSource::ShowerSource(models::ShowerGenerator generator, const ShowerSourceOptions& options)
    : generator_(std::move(generator)), options_(options) {}

ShowerSource ShowerSource::open(const std::string& path, const ShowerSourceOptions& options) {
  if (!std::filesystem::exists(path))
    throw ConfigError("model", path,
                      "a run folder of train_3dgan, a safetensors file or a Keras weight file");
  std::optional<EnergyRange> energies;
  models::ShowerGenerator generator = nullptr;
  if (std::filesystem::is_directory(path)) {
    const auto snapshot = load_generator(path, options);
    const ShowerDescription description = parse_shower_description(snapshot.info.metadata, path);
    energies = description.energies;
    generator = models::ShowerGenerator(models::ShowerGeneratorOptions{.variant = description.variant});
    weights::load_into(*generator, snapshot.components.at(kGenerator).tensors, path);
  } else {
    const auto variant = generator_variant(path);
    generator = models::ShowerGenerator(models::ShowerGeneratorOptions{.variant = variant});
    weights::load_into(*generator, read_shower_weights(path, variant, models::ShowerNetwork::generator),
                       path);
  }
  generator->to(options.device);
  generator->eval();
  ShowerSource source(std::move(generator), options);
  source.trained_energies_ = energies;
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
