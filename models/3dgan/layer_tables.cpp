// SPDX-License-Identifier: Apache-2.0
#include "layer_tables.hpp"

namespace bunchtrain::models::detail {
namespace {

using ops::Padding3;

const std::array<ShowerLayer, 4> kFixedGenerator = {{
    {.channels = 64, .kernel = {6, 6, 8}, .padding = Padding3::same({6, 6, 8})},
    {.channels = 6, .kernel = {6, 5, 8}, .padding = Padding3::symmetric({2, 2, 0}), .upsampling = {2, 2, 2}},
    {.channels = 6,
     .kernel = {3, 3, 8},
     .padding = Padding3::symmetric({1, 0, 3}),
     .upsampling = {2, 2, 3},
     .norm = Norm::none},
    {.channels = 1, .kernel = {2, 2, 2}, .norm = Norm::none, .bias = false},
}};

const std::array<ShowerLayer, 7> kAngleGenerator = {{
    {.channels = 8, .kernel = {6, 6, 8}, .upsampling = {6, 6, 6}},
    {.channels = 6, .kernel = {4, 4, 6}, .padding = Padding3::symmetric({2, 2, 1})},
    {.channels = 6, .kernel = {4, 4, 6}, .padding = Padding3::symmetric({2, 2, 1})},
    {.channels = 6, .kernel = {4, 4, 6}, .padding = Padding3::symmetric({2, 2, 1})},
    {.channels = 6, .kernel = {3, 3, 5}, .padding = Padding3::symmetric({1, 1, 0})},
    {.channels = 6, .kernel = {3, 3, 3}, .padding = Padding3::symmetric({1, 1, 0}), .norm = Norm::none},
    {.channels = 1, .kernel = {2, 2, 2}, .norm = Norm::none},
}};

const std::array<ShowerLayer, 4> kFixedDiscriminator = {{
    {.channels = 32, .kernel = {5, 5, 5}, .padding = Padding3::same({5, 5, 5}), .norm = Norm::none},
    {.channels = 8, .kernel = {5, 5, 5}, .padding = Padding3::symmetric({2, 2, 2})},
    {.channels = 8, .kernel = {5, 5, 5}, .padding = Padding3::symmetric({2, 2, 2})},
    {.channels = 8, .kernel = {5, 5, 5}, .padding = Padding3::symmetric({1, 1, 1})},
}};

const std::array<ShowerLayer, 4> kAngleDiscriminator = {{
    {.channels = 16, .kernel = {5, 6, 6}, .padding = Padding3::same({5, 6, 6}), .norm = Norm::none},
    {.channels = 8, .kernel = {5, 6, 6}, .padding = Padding3::symmetric({0, 0, 1})},
    {.channels = 8, .kernel = {5, 6, 6}, .padding = Padding3::symmetric({0, 0, 1})},
    {.channels = 8, .kernel = {5, 6, 6}},
}};

}  // namespace

const GeneratorTable& generator_table(ShowerVariant variant) noexcept {
  static const GeneratorTable fixed = {
      .folded = {7, 7, 8, 8}, .slope = kLeakySlope, .layers = kFixedGenerator};
  static const GeneratorTable angle = {.folded = {9, 9, 8, 8}, .slope = 0, .layers = kAngleGenerator};
  return variant == ShowerVariant::fixed_angle ? fixed : angle;
}

const DiscriminatorTable& discriminator_table(ShowerVariant variant) noexcept {
  static const DiscriminatorTable fixed = {.layers = kFixedDiscriminator, .flattened = 11 * 11 * 11 * 8};
  static const DiscriminatorTable angle = {.layers = kAngleDiscriminator, .flattened = 19 * 18 * 7 * 8};
  return variant == ShowerVariant::fixed_angle ? fixed : angle;
}

double norm_epsilon(ShowerVariant variant) noexcept {
  return variant == ShowerVariant::fixed_angle ? 1e-3 : 1e-6;
}

}  // namespace bunchtrain::models::detail
