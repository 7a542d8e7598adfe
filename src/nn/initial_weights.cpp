// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/initial_weights.hpp"

#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <cmath>
#include <string>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"

namespace bunchtrain::nn {
namespace {

/// FNV-1a: a stream for each name.
std::uint64_t hash_name(std::string_view name) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char character : name) hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001b3U;
  return hash;
}

constexpr std::string_view kWeight = "weight";

/// Whether the last part of a dotted name is `part`.
bool is_named(std::string_view name, std::string_view part) {
  return name == part || (name.ends_with(part) && name[name.size() - part.size() - 1] == '.');
}

void fill_uniform(at::Tensor parameter, double bound, const CounterRandom& random) {
  const at::Tensor values = at::empty(parameter.sizes(), at::kDouble);
  auto* value = values.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    value[i] = (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1) * bound;
  }
  parameter.copy_(values);
}

/// A normal distribution cut at two deviations, of standard deviation `width` after the cut.
void fill_truncated_normal(at::Tensor parameter, double width, const CounterRandom& random) {
  constexpr double kCut = 2, kWidthOfCut = 0.87962566103423978;
  const at::Tensor values = at::empty(parameter.sizes(), at::kDouble);
  auto* value = values.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    RandomSequence draws(random.child(static_cast<std::uint64_t>(i)));
    double normal = draws.normal();
    while (std::abs(normal) > kCut) normal = draws.normal();
    value[i] = normal * width / kWidthOfCut;
  }
  parameter.copy_(values);
}

}  // namespace

void fill_default_weights(torch::nn::Module& module, std::uint64_t seed) {
  const c10::NoGradGuard no_grad;
  const auto parameters = module.named_parameters();
  for (const auto& item : parameters) {
    if (!is_named(item.key(), kWeight) || item.value().dim() < 2) continue;
    const at::Tensor& weight = item.value();
    const double bound = 1.0 / std::sqrt(static_cast<double>(weight.numel() / weight.size(0)));
    fill_uniform(weight, bound, CounterRandom(seed, hash_name(item.key())));
    const std::string beside = item.key().substr(0, item.key().size() - kWeight.size()) + "bias";
    if (const at::Tensor* bias = parameters.find(beside))
      fill_uniform(*bias, bound, CounterRandom(seed, hash_name(beside)));
  }
}

void fill(at::Tensor& weight, KerasInitializer initializer, std::string_view name, std::uint64_t seed) {
  if (weight.dim() < 2) {
    throw ConfigError(fmt::format(
        "'{}' has {} dimension(s): initial weights need inputs and outputs to count", name, weight.dim()));
  }
  const c10::NoGradGuard no_grad;
  const auto cells = static_cast<double>(weight.numel() / (weight.size(0) * weight.size(1)));
  const double fan_in = cells * static_cast<double>(weight.size(1));
  const double fan_out = cells * static_cast<double>(weight.size(0));
  const CounterRandom random(seed, hash_name(name));
  switch (initializer) {
    case KerasInitializer::glorot_uniform:
      return fill_uniform(weight, std::sqrt(6 / (fan_in + fan_out)), random);
    case KerasInitializer::he_uniform:
      return fill_uniform(weight, std::sqrt(6 / fan_in), random);
    case KerasInitializer::glorot_normal:
      return fill_truncated_normal(weight, std::sqrt(2 / (fan_in + fan_out)), random);
  }
}

}  // namespace bunchtrain::nn
