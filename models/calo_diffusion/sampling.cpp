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

at::Tensor ask(const Denoiser& denoise, const at::Tensor& x, double sigma) {
  return denoise(x, at::full({x.size(0)}, sigma, x.options()));
}

/// Along dx/dsigma = (x - D(x, sigma)) / sigma.
at::Tensor solve_by_slopes(const Denoiser& denoise, at::Tensor x, const std::vector<double>& sigmas,
                           bool corrects) {
  const auto slope = [&](const at::Tensor& at_x, double sigma) {
    return (at_x - ask(denoise, at_x, sigma)) / sigma;
  };
  for (std::size_t i = 0; i + 1 < sigmas.size(); ++i) {
    const double step = sigmas[i + 1] - sigmas[i];
    const at::Tensor here = slope(x, sigmas[i]);
    const at::Tensor guess = x + here * step;
    x = corrects && sigmas[i + 1] > 0 ? x + (here + slope(guess, sigmas[i + 1])) * (step / 2) : guess;
  }
  return x;
}

/// The linear part exactly, D as a straight line in ln(sigma) through this answer and the one before (Lu et al., algorithm 2).
at::Tensor solve_by_multistep(const Denoiser& denoise, at::Tensor x, const std::vector<double>& sigmas) {
  at::Tensor before;
  for (std::size_t i = 0; i + 1 < sigmas.size(); ++i) {
    const at::Tensor here = ask(denoise, x, sigmas[i]);
    at::Tensor clean = here;
    if (before.defined() && sigmas[i + 1] > 0)
      clean = here + (here - before) *
                         (std::log(sigmas[i] / sigmas[i + 1]) / (2 * std::log(sigmas[i - 1] / sigmas[i])));
    const double kept = sigmas[i + 1] / sigmas[i];
    x = x * kept + clean * (1 - kept);
    before = here;
  }
  return x;
}

at::Tensor solve(const Denoiser& denoise, const at::Tensor& noise, const DiffusionSamplingOptions& options) {
  const std::vector<double> sigmas = levels(options);
  const at::Tensor start = noise * sigmas.front();
  if (options.sampler == DiffusionSampler::dpm) return solve_by_multistep(denoise, start, sigmas);
  return solve_by_slopes(denoise, start, sigmas, options.sampler == DiffusionSampler::heun);
}

}  // namespace

std::string_view to_string(DiffusionSampler sampler) noexcept {
  if (sampler == DiffusionSampler::dpm) return "dpm";
  return sampler == DiffusionSampler::ddim ? "ddim" : "heun";
}

DiffusionSampler parse_diffusion_sampler(std::string_view text) {
  for (const auto sampler : {DiffusionSampler::dpm, DiffusionSampler::ddim, DiffusionSampler::heun})
    if (text == to_string(sampler)) return sampler;
  throw ConfigError("sampler", text, "dpm, ddim, heun");
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
