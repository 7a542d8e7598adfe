// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"

namespace bunchtrain::models {
namespace {

/// Noise levels from the highest to 0 (Karras et al., equation 5, rho 7).
std::vector<double> levels(const DiffusionSamplingOptions& options) {
  constexpr double kRho = 7;
  const double first = std::pow(options.highest_sigma, 1 / kRho),
               last = std::pow(options.lowest_sigma, 1 / kRho);
  std::vector<double> sigmas;
  for (std::int64_t i = 0; i < options.steps; ++i) {
    const double part =
        options.steps == 1 ? 0 : static_cast<double>(i) / static_cast<double>(options.steps - 1);
    sigmas.push_back(std::pow(first + part * (last - first), kRho));
  }
  sigmas.push_back(0);
  return sigmas;
}

using Denoiser = std::function<at::Tensor(const at::Tensor& noisy, const at::Tensor& sigma)>;

at::Tensor solve(const Denoiser& denoise, const at::Tensor& noise, const DiffusionSamplingOptions& options) {
  const std::vector<double> sigmas = levels(options);
  const auto slope = [&](const at::Tensor& x, double sigma) {
    const at::Tensor of_samples = at::full({x.size(0)}, sigma, x.options());
    return (x - denoise(x, of_samples)) / sigma;
  };
  at::Tensor x = noise * sigmas.front();
  for (std::size_t i = 0; i + 1 < sigmas.size(); ++i) {
    const double step = sigmas[i + 1] - sigmas[i];
    const at::Tensor here = slope(x, sigmas[i]);
    const at::Tensor guess = x + here * step;
    const bool corrects = options.sampler == DiffusionSampler::heun && sigmas[i + 1] > 0;
    x = corrects ? x + (here + slope(guess, sigmas[i + 1])) * (step / 2) : guess;
  }
  return x;
}

}  // namespace

std::string_view to_string(DiffusionSampler sampler) noexcept {
  return sampler == DiffusionSampler::ddim ? "ddim" : "heun";
}

DiffusionSampler parse_diffusion_sampler(std::string_view text) {
  for (const auto sampler : {DiffusionSampler::ddim, DiffusionSampler::heun})
    if (text == to_string(sampler)) return sampler;
  throw ConfigError("sampler", text, "ddim, heun");
}

void DiffusionSamplingOptions::validate() const {
  if (steps < 1) throw ConfigError("steps", fmt::format("{}", steps), "at least 1");
  if (!(lowest_sigma > 0 && lowest_sigma < highest_sigma))
    throw ConfigError("sigma", fmt::format("{}:{}", lowest_sigma, highest_sigma),
                      "two positive noise levels, the lower one first");
}

at::Tensor sample_showers(CaloDiffusionImpl& network, const CaloDiffusionImpl::Condition& condition,
                          const at::Tensor& layer_noise, const at::Tensor& cell_noise,
                          const DiffusionSamplingOptions& options) {
  options.validate();
  expects(!network.is_training(), "showers are sampled in evaluation mode: call eval()");
  const at::NoGradGuard no_gradients;
  const at::Tensor layers =
      solve([&](const at::Tensor& noisy,
                const at::Tensor& sigma) { return network.denoise_layers(noisy, sigma, condition); },
            layer_noise, options);
  const at::Tensor cells =
      solve([&](const at::Tensor& noisy,
                const at::Tensor& sigma) { return network.denoise_cells(noisy, sigma, layers, condition); },
            cell_noise, options);
  return network.to_gev(cells, layers, condition);
}

}  // namespace bunchtrain::models
