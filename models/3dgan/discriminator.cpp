// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/3dgan/discriminator.hpp"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/leaky_relu.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/ops/shower_observables.hpp"
#include "layer_modules.hpp"

namespace bunchtrain::models {
namespace {

void check_image(const at::Tensor& image, ShowerVariant variant) {
  const auto shape = shower_shape(variant);
  if (image.defined() && image.dim() == 4 && std::ranges::equal(image.sizes().slice(1), shape)) return;
  throw ConfigError(
      fmt::format("the discriminator of variant '{}' expects images [B, {}]; they are [{}]",
                  to_string(variant), fmt::join(shape, ", "),
                  image.defined() ? fmt::format("{}", fmt::join(image.sizes(), ", ")) : "undefined"));
}

}  // namespace

ShowerDiscriminatorImpl::ShowerDiscriminatorImpl(ShowerDiscriminatorOptions options) : options_(options) {
  const detail::DiscriminatorTable& table = detail::discriminator_table(options_.variant);
  const detail::InitialWeights initial("discriminator", options_.seed);
  slab_ = register_module("slab", nn::ToSlab(nn::ToSlabOptions{.cells = shower_shape(options_.variant)}));
  std::int64_t channels = 1;
  for (const detail::ShowerLayer& layer : table.layers) {
    const auto position = convolutions_.size() + 1;
    const std::string number = std::to_string(position);
    convolutions_.push_back(register_module("conv" + number, detail::make_convolution(layer, channels)));
    initial.fill(convolutions_.back()->weight, "conv" + number, nn::KerasInitializer::glorot_uniform);
    if (layer.norm == detail::Norm::present)
      norms_.push_back(register_module("bn" + number, detail::make_norm(layer, options_.variant)));
    dropouts_.push_back(
        register_module("dropout" + number,
                        nn::Dropout(nn::DropoutOptions{.probability = options_.dropout, .site = position})));
    channels = layer.channels;
  }
  pool_ = register_module("pool", nn::AveragePool(nn::AveragePoolOptions{}));
  whole_ = register_module("whole", nn::ToWhole());
  const nn::LinearOptions head{.in = table.flattened, .out = 1};
  generation_ = register_module("generation", nn::Linear(head));
  auxiliary_ = register_module("auxiliary", nn::Linear(head));
  initial.fill(generation_->weight, "generation", nn::KerasInitializer::glorot_uniform);
  initial.fill(auxiliary_->weight, "auxiliary", nn::KerasInitializer::glorot_uniform);
}

ShowerJudgement ShowerDiscriminatorImpl::forward(const at::Tensor& image) {
  check_image(image, options_.variant);
  const std::size_t without_norm = convolutions_.size() - norms_.size();
  at::Tensor cells = slab_->forward(image.unsqueeze(4));
  for (std::size_t i = 0; i < convolutions_.size(); ++i) {
    cells = at::leaky_relu(convolutions_[i]->forward(cells), detail::kLeakySlope);
    // The layers without batch norm are the first ones.
    if (i >= without_norm) cells = norms_[i - without_norm]->forward(cells);
    cells = dropouts_[i]->forward(cells);
  }

  // What is judged is compared with numbers of its own precision: autocast ends here.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor pooled = pool_->forward(cells.to(generation_->weight.scalar_type()));
  const at::Tensor features = whole_->forward(pooled).flatten(1);
  const double power = image_power(options_.variant);
  ShowerJudgement judgement{.logit = generation_->forward(features).squeeze(1),
                            .energy = auxiliary_->forward(features).squeeze(1),
                            .sum = ops::ecal_sum(image, power)};
  if (options_.variant == ShowerVariant::variable_angle) judgement.angle = ops::ecal_angle(image, power);
  if (options_.bin_counts) judgement.counts = ops::bin_counts(image, power, options_.bin_count_smoothing);
  return judgement;
}

}  // namespace bunchtrain::models
