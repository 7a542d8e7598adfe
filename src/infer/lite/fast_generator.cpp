// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/fast_generator.hpp"

#include <fmt/format.h>

#include <utility>

#include "../raw_rows.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "generator_pass.hpp"
#include "loaded_generator.hpp"

namespace bunchtrain::infer {
namespace detail {

bool is_generator(const weights::BundleContent& content) {
  return !content.model.empty() && models::ModelDescription::parse(content.model).name() == kGeneratorModel;
}

LoadedGenerator load_generator(const std::filesystem::path& bundle) {
  weights::BundleContent content = weights::read_bundle_content(bundle);
  if (!is_generator(content))
    throw CheckpointError(
        fmt::format("{} is of no generator of showers by 3DGAN: take infer::Predictor", bundle.string()));
  const auto description = models::ModelDescription::parse(content.model);
  const auto options = models::ShowerGeneratorOptions::from(description);
  description.require_known_fields();
  return {.content = std::move(content),
          .network = read_folded_generator(options, weights::bundle_weights(bundle))};
}

}  // namespace detail

inline namespace v0_1 {

struct FastGenerator::Impl {
  explicit Impl(detail::LoadedGenerator loaded)
      : hash(std::move(loaded.content.hash)), network(detail::prepare(std::move(loaded.network))) {}

  std::string hash;
  detail::PreparedGenerator network;
};

struct FastGenerator::Scratch::Impl {
  explicit Impl(std::shared_ptr<const FastGenerator::Impl> generator)
      : owner(std::move(generator)), pass(owner->network) {}

  std::shared_ptr<const FastGenerator::Impl> owner;
  detail::GeneratorPass pass;
};

FastGenerator::Scratch::Scratch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FastGenerator::Scratch::Scratch(Scratch&&) noexcept = default;
FastGenerator::Scratch& FastGenerator::Scratch::operator=(Scratch&&) noexcept = default;
FastGenerator::Scratch::~Scratch() = default;
std::size_t FastGenerator::Scratch::bytes() const noexcept { return impl_ ? impl_->pass.bytes() : 0; }

FastGenerator::FastGenerator(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
FastGenerator FastGenerator::load(const std::filesystem::path& bundle) {
  return FastGenerator(std::make_shared<const Impl>(detail::load_generator(bundle)));
}

bool FastGenerator::knows(const std::filesystem::path& bundle) {
  return detail::is_generator(weights::read_bundle_content(bundle));
}

models::ShowerVariant FastGenerator::variant() const noexcept { return impl_->network.options.variant; }
std::int64_t FastGenerator::latent_size() const noexcept { return impl_->network.latent(); }
std::int64_t FastGenerator::image_size() const noexcept { return impl_->network.image(); }
const std::string& FastGenerator::hash() const noexcept { return impl_->hash; }
FastGenerator::Scratch FastGenerator::make_scratch() const {
  return Scratch(std::make_unique<Scratch::Impl>(impl_));
}

void FastGenerator::run(std::span<const float> latents, std::span<float> images, Scratch& scratch) const {
  if (!scratch.impl_ || scratch.impl_->owner != impl_) detail::refuse_scratch();
  const std::int64_t count = std::ssize(latents) / latent_size();
  if (count * latent_size() != std::ssize(latents))
    throw ConfigError("latents", fmt::to_string(latents.size()),
                      fmt::format("{} numbers for each shower", latent_size()));
  if (std::ssize(images) != count * image_size())
    throw ConfigError("images", fmt::to_string(images.size()),
                      fmt::format("{} cells for each of {} showers", image_size(), count));
  scratch.impl_->pass.run(latents.data(), count, images.data());
}

}  // namespace v0_1
}  // namespace bunchtrain::infer
