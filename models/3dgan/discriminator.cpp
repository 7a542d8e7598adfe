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

/// Means over cubes of two cells each way; a last odd cell is dropped. [B, X, Y, Z, C]
at::Tensor average_pool(const at::Tensor& cells) {
  const std::int64_t x = cells.size(1) / 2, y = cells.size(2) / 2, z = cells.size(3) / 2;
  return cells.slice(1, 0, 2 * x)
      .slice(2, 0, 2 * y)
      .slice(3, 0, 2 * z)
      .reshape({cells.size(0), x, 2, y, 2, z, 2, cells.size(4)})
      .mean({2, 4, 6});
}

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
  const nn::LinearOptions head{.in = table.flattened, .out = 1};
  generation_ = register_module("generation", nn::Linear(head));
  auxiliary_ = register_module("auxiliary", nn::Linear(head));
  initial.fill(generation_->weight, "generation", nn::KerasInitializer::glorot_uniform);
  initial.fill(auxiliary_->weight, "auxiliary", nn::KerasInitializer::glorot_uniform);
}

ShowerJudgement ShowerDiscriminatorImpl::forward(const at::Tensor& image) {
  check_image(image, options_.variant);
  const std::size_t without_norm = convolutions_.size() - norms_.size();
  at::Tensor cells = image.unsqueeze(4);
  for (std::size_t i = 0; i < convolutions_.size(); ++i) {
    cells = at::leaky_relu(convolutions_[i]->forward(cells), detail::kLeakySlope);
    // The layers without batch norm are the first ones.
    if (i >= without_norm) cells = norms_[i - without_norm]->forward(cells);
    cells = dropouts_[i]->forward(cells);
  }

  // What is judged is compared with numbers of its own precision: autocast ends here.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor features = average_pool(cells.to(generation_->weight.scalar_type())).flatten(1);
  const double power = image_power(options_.variant);
  ShowerJudgement judgement{.logit = generation_->forward(features).squeeze(1),
                            .energy = auxiliary_->forward(features).squeeze(1),
                            .sum = ops::ecal_sum(image, power)};
  if (options_.variant == ShowerVariant::variable_angle) judgement.angle = ops::ecal_angle(image, power);
  if (options_.bin_counts) judgement.counts = ops::bin_counts(image, power, options_.bin_count_smoothing);
  return judgement;
}

}  // namespace bunchtrain::models
