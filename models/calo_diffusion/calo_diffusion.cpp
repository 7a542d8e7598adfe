// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/models/calo_diffusion.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log.h>
#include <ATen/ops/sin.h>
#include <c10/util/accumulate.h>
#include <fmt/format.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/models/model_description.hpp"
#include "bunchtrain/nn/initial_weights.hpp"
#include "bunchtrain/nn/keyed_random.hpp"
#include "parts.hpp"

namespace bunchtrain::models {
namespace {

// Sites of random numbers.
constexpr std::uint64_t kCellSigma = 101, kCellNoise = 102, kLayerSigma = 103, kLayerNoise = 104;
// Of ln(sigma) in training: Karras et al. use -1.2 and 1.2 for data of width 0.5.
constexpr double kLogSigmaMean = -0.5, kLogSigmaWidth = 1.3;

/// Cells of an axis that the last level has one of.
std::int64_t coarsest(const CaloDiffusionOptions& options) {
  return std::int64_t{1} << (options.channels.size() - 1);
}

std::array<std::int64_t, 3> padded(const CaloDiffusionOptions& options) {
  const std::int64_t unit = coarsest(options);
  std::array<std::int64_t, 3> cells = options.cells;
  for (std::int64_t& along : cells) along = (along + unit - 1) / unit * unit;
  return cells;
}

/// As many dimensions as `like`, the first one of `per_sample` [B].
at::Tensor beside(const at::Tensor& per_sample, const at::Tensor& like) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(like.dim()), 1);
  sizes[0] = -1;
  return per_sample.view(sizes);
}

/// What makes inputs, targets and results of width 1 at any noise level (Karras et al., table 1, sigma_data 1).
struct Preconditioning {
  explicit Preconditioning(const at::Tensor& of_sigma) : sigma(of_sigma), width((sigma * sigma + 1).sqrt()) {}
  at::Tensor input(const at::Tensor& noisy) const { return noisy / beside(width, noisy); }
  at::Tensor target(const at::Tensor& clean, const at::Tensor& noisy) const {
    return (clean - noisy / beside(width * width, noisy)) * beside(width / sigma, noisy);
  }
  at::Tensor clean(const at::Tensor& noisy, const at::Tensor& said) const {
    return noisy / beside(width * width, noisy) + said * beside(sigma / width, noisy);
  }

  at::Tensor sigma, width;
};

/// [B, kNoiseWaves] of ln(sigma) / 4.
at::Tensor waves(const at::Tensor& sigma) {
  const std::int64_t half = detail::kNoiseWaves / 2;
  const at::Tensor frequencies =
      at::exp(at::arange(half, sigma.options()) * (std::log(200.0) / static_cast<double>(half - 1)));
  const at::Tensor phases = (sigma.log() / 4).unsqueeze(1) * frequencies;
  return at::cat({phases.sin(), phases.cos()}, 1);
}

std::int64_t known_numbers(const CaloDiffusionOptions& options) {
  return detail::kNoiseWaves + 1 + (options.inclined ? 1 : 0);
}

}  // namespace

CaloDiffusionOptions CaloDiffusionOptions::preset(std::string_view name) {
  if (name == "tiny") return {};
  if (name == "base") return {.channels = {32, 96, 160}};
  if (name == "large") return {.channels = {64, 256, 448}, .blocks = 2};
  throw ConfigError("preset", name, "tiny, base, large");
}

CaloDiffusionOptions CaloDiffusionOptions::from(const ModelDescription& description) {
  CaloDiffusionOptions options = preset(description.text("preset", "tiny", {"tiny", "base", "large"}));
  const auto cells = description.integers("cells", {options.cells.begin(), options.cells.end()});
  if (cells.size() != 3)
    throw ConfigError("cells", fmt::format("{} numbers", cells.size()), "three, along x, y and z");
  std::copy(cells.begin(), cells.end(), options.cells.begin());
  options.inclined = description.flag("inclined", options.inclined);
  options.channels = description.integers("channels", options.channels);
  options.blocks = description.integer("blocks", options.blocks);
  options.attention = description.flag("attention", options.attention);
  options.seed = description.unsigned_integer("seed", options.seed);
  options.validate();
  return options;
}

ModelDescription CaloDiffusionOptions::describe() const {
  return ModelDescription("calo-diffusion")
      .set("cells", std::vector<std::int64_t>(cells.begin(), cells.end()))
      .set("inclined", inclined)
      .set("channels", channels)
      .set("blocks", blocks)
      .set("attention", attention)
      .set("seed", seed);
}

void CaloDiffusionOptions::validate() const {
  for (const std::int64_t along : cells)
    if (along < 2) throw ConfigError("cells", fmt::format("{}", along), "at least 2 along each axis");
  if (channels.empty() || channels.size() > 5)
    throw ConfigError("channels", fmt::format("{} numbers", channels.size()), "one to five levels");
  for (const std::int64_t count : channels)
    if (count < 8 || count % 8 != 0)
      throw ConfigError("channels", fmt::format("{}", count), "multiples of 8");
  if (blocks < 1) throw ConfigError("blocks", fmt::format("{}", blocks), "at least 1");
}

struct CaloDiffusionImpl::Parts {
  struct Level {
    std::vector<detail::ResidualBlock> down, up;
    detail::Shrink shrink = nullptr;  ///< to the next level
    detail::Grow grow = nullptr;      ///< from it
  };
  detail::Normaliser normaliser = nullptr;
  detail::Perceptron layers = nullptr, condition = nullptr;
  detail::Stem stem = nullptr;
  std::vector<Level> levels;  ///< but the last, which is the middle
  std::vector<detail::ResidualBlock> middle;
  detail::Attention attention = nullptr;
  detail::Head head = nullptr;
};

CaloDiffusionImpl::CaloDiffusionImpl(CaloDiffusionOptions options)
    : options_(std::move(options)), parts_(std::make_unique<Parts>()) {
  options_.validate();
  const std::int64_t layers = options_.cells[2], known = known_numbers(options_);
  const auto& channels = options_.channels;
  const std::int64_t condition = 4 * channels.front();
  Parts& p = *parts_;
  p.normaliser = register_module("normaliser", detail::Normaliser(layers));
  p.layers = register_module("layers", detail::Perceptron(layers + known, 128, layers));
  p.condition = register_module("condition", detail::Perceptron(layers + known, condition, condition));
  p.stem = register_module(
      "stem", detail::Stem(options_.cells, padded(options_), coarsest(options_), channels.front()));
  const auto block = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    return register_module(name, detail::ResidualBlock(in, out, condition));
  };
  for (std::size_t i = 0; i + 1 < channels.size(); ++i) {
    Parts::Level level;
    const std::string number = std::to_string(i);
    for (std::int64_t j = 0; j < options_.blocks; ++j) {
      const std::string name = number + "_" + std::to_string(j);
      level.down.push_back(block("down" + name, channels[i], channels[i]));
      level.up.push_back(block("up" + name, j == 0 ? 2 * channels[i] : channels[i], channels[i]));
    }
    level.shrink = register_module("shrink" + number, detail::Shrink(channels[i], channels[i + 1]));
    level.grow = register_module("grow" + number, detail::Grow(channels[i + 1], channels[i]));
    p.levels.push_back(std::move(level));
  }
  for (int i = 0; i < 2; ++i)
    p.middle.push_back(block("middle" + std::to_string(i), channels.back(), channels.back()));
  if (options_.attention) p.attention = register_module("attention", detail::Attention(channels.back()));
  p.head = register_module("head", detail::Head(options_.cells, channels.front()));
  nn::fill_default_weights(*this, options_.seed);
  // At first the networks say nothing: the clean image is then a share of the noisy one.
  const at::NoGradGuard no_gradients;
  for (at::Tensor* last : {&p.head->convolution->weight, &p.head->convolution->bias, &p.layers->third->weight,
                           &p.layers->third->bias})
    last->zero_();
}

CaloDiffusionImpl::~CaloDiffusionImpl() = default;

std::vector<std::string> CaloDiffusionImpl::input_names() const {
  if (options_.inclined) return {"image", "energy", "theta"};
  return {"image", "energy"};
}

std::vector<std::string> CaloDiffusionImpl::output_names() const {
  return {"cells", "cells_target", "layers", "layers_target"};
}

std::string CaloDiffusionImpl::description() const { return options_.describe().to_json(); }

NamedTensors CaloDiffusionImpl::example_inputs(std::int64_t samples) const {
  const auto& [x, y, z] = options_.cells;
  const at::Tensor cells = at::arange(samples * x * y * z, at::kFloat).view({samples, x, y, z}).sin();
  NamedTensors inputs = {{"image", cells.clamp_min(0)}, {"energy", at::full({samples}, 50.0)}};
  if (options_.inclined) inputs.set("theta", at::full({samples}, 1.5));
  return inputs;
}

/// Images of a level's channels that operations save for backward, each counted where it is read: of a normalisation with its
/// activation the input and, for the convolution behind it, the output; single operations (GPU) save two more between them.
/// What is copied (by `Shrink` and `Grow`, by the cat of a skip connection) is saved as the copy only.
std::int64_t CaloDiffusionImpl::predicted_activation_bytes(std::int64_t samples, std::int64_t /*entries*/,
                                                           nn::EdgeStorage storage) const {
  const std::int64_t activated = storage.device == c10::kCPU ? 2 : 4, block = 2 * activated;
  const auto cells = padded(options_);
  const auto& channels = options_.channels;
  std::int64_t of_level = cells[0] * cells[1] * cells[2];
  std::int64_t numbers = of_level * (3 + activated * channels.front() + 1);  // stem, head, what it says
  for (std::size_t i = 0; i < channels.size(); ++i, of_level /= 8) {
    const bool is_last = i + 1 == channels.size();
    std::int64_t images = 2 * block + (options_.attention ? 6 : 0);
    // The first block up reads two images beside each other; `Shrink` copies one, `Grow` reads one of the next level.
    if (!is_last) images = 2 * options_.blocks * block + activated + 1;
    if (i > 0) images += 1;
    numbers += of_level * channels[i] * images;
  }
  const std::int64_t targets = c10::multiply_integers(options_.cells);
  return samples * (numbers + targets) * storage.value_bytes;
}

void CaloDiffusionImpl::set_normalisation(const ShowerNormalisation& normalisation) {
  const at::NoGradGuard no_gradients;
  parts_->normaliser->set(normalisation);
}

namespace {

/// Beside the noise level what a denoiser knows of a shower: [B, K].
at::Tensor known(const detail::Normaliser& normaliser, const at::Tensor& sigma, const at::Tensor& energy,
                 const at::Tensor& theta) {
  std::vector<at::Tensor> numbers = {waves(sigma), normaliser->log_energy(energy).unsqueeze(1)};
  if (theta.defined()) numbers.push_back(theta.cos().unsqueeze(1));
  return at::cat(numbers, 1);
}

struct Noised {
  at::Tensor input, target, known;
};

Noised put_noise(const detail::Normaliser& normaliser, const nn::StepContext& context,
                 const at::Tensor& clean, std::uint64_t sigma_site, std::uint64_t noise_site,
                 const at::Tensor& energy, const at::Tensor& theta) {
  const auto like = clean.options();
  const at::Tensor level = nn::keyed_normal(context, sigma_site, 1).to(like).squeeze(1);
  const Preconditioning scaled((level * kLogSigmaWidth + kLogSigmaMean).exp());
  const at::Tensor noise =
      nn::keyed_normal(context, noise_site, c10::multiply_integers(clean.sizes().slice(1)))
          .to(like)
          .view(clean.sizes());
  const at::Tensor noisy = clean + noise * beside(scaled.sigma, clean);
  return {.input = scaled.input(noisy),
          .target = scaled.target(clean, noisy),
          .known = known(normaliser, scaled.sigma, energy, theta)};
}

/// Inputs and targets of both denoisers, in the order in which the unit writes them.
std::vector<at::Tensor> put_noise(const detail::Normaliser& normaliser,
                                  const std::vector<at::Tensor>& batch) {
  const at::Tensor &image = batch[0], &energy = batch[1], theta = batch.size() > 2 ? batch[2] : at::Tensor();
  const at::Tensor layers = normaliser->layers_of(image, energy), cells = normaliser->cells_of(image);
  const auto noise_for = [&](const nn::StepContext& context) {
    const Noised c = put_noise(normaliser, context, cells, kCellSigma, kCellNoise, energy, theta);
    const Noised l = put_noise(normaliser, context, layers, kLayerSigma, kLayerNoise, energy, theta);
    return std::vector<at::Tensor>{c.input, at::cat({c.known, layers}, 1), c.target, l.target,
                                   at::cat({l.input, l.known}, 1)};
  };
  if (const nn::StepContext* const step = nn::StepContext::current()) return noise_for(*step);
  return noise_for(
      nn::StepContext(0, 0, at::arange(image.size(0), at::TensorOptions(at::kLong).device(image.device()))));
}

nn::Unit block_unit(const std::string& name, const detail::ResidualBlock& block,
                    std::vector<std::string> reads, const std::string& writes) {
  reads.push_back("condition");
  const bool joined = reads.size() == 3;
  return {
      .name = name,
      .module = block.ptr(),
      .reads = std::move(reads),
      .writes = {writes},
      .forward = [block = detail::ResidualBlock(block), joined](const std::vector<at::Tensor>& in) mutable {
        const at::Tensor x = joined ? at::cat({in[0], in[1]}, -1) : in[0];
        return std::vector<at::Tensor>{block->forward(x, in.back())};
      }};
}

}  // namespace

/// From "cells_in" and "cells_known" to "cells".
std::vector<nn::Unit> CaloDiffusionImpl::unet() const {
  const Parts& p = *parts_;
  std::vector<nn::Unit> units = {nn::unit("condition", p.condition, "cells_known", "condition"),
                                 nn::unit("stem", p.stem, "cells_in", "x")};
  std::string last = "x";
  const auto add = [&](nn::Unit unit) {
    last = unit.writes.front();
    units.push_back(std::move(unit));
  };
  std::vector<std::string> skips;
  for (std::size_t i = 0; i < p.levels.size(); ++i) {
    const std::string number = std::to_string(i);
    for (std::size_t j = 0; j < p.levels[i].down.size(); ++j) {
      const std::string name = "down" + number + "_" + std::to_string(j);
      add(block_unit(name, p.levels[i].down[j], {last}, name));
    }
    skips.push_back(last);
    add(nn::unit("shrink" + number, p.levels[i].shrink, last, "shrunk" + number));
  }
  add(block_unit("middle0", p.middle[0], {last}, "middle0"));
  if (p.attention) add(nn::unit("attention", p.attention, last, "attended"));
  add(block_unit("middle1", p.middle[1], {last}, "middle1"));
  for (std::size_t i = p.levels.size(); i-- > 0;) {
    const std::string number = std::to_string(i);
    add(nn::unit("grow" + number, p.levels[i].grow, last, "grown" + number));
    for (std::size_t j = 0; j < p.levels[i].up.size(); ++j) {
      const std::string name = "up" + number + "_" + std::to_string(j);
      add(block_unit(name, p.levels[i].up[j], j == 0 ? std::vector{last, skips[i]} : std::vector{last},
                     name));
    }
  }
  add(nn::unit("head", p.head, last, "cells"));
  return units;
}

std::vector<nn::Unit> CaloDiffusionImpl::units() {
  const detail::Normaliser normaliser = parts_->normaliser;
  std::vector<nn::Unit> units = {
      {.name = "noise",
       .module = normaliser.ptr(),
       .reads = input_names(),
       .writes = {"cells_in", "cells_known", "cells_target", "layers_target", "layers_known"},
       .forward =
           [normaliser](const std::vector<at::Tensor>& batch) { return put_noise(normaliser, batch); }},
      nn::unit("layers", parts_->layers, "layers_known", "layers")};
  for (nn::Unit& unit : unet()) units.push_back(std::move(unit));
  return units;
}

at::Tensor CaloDiffusionImpl::denoise_layers(const at::Tensor& noisy, const at::Tensor& sigma,
                                             const Condition& condition) {
  const Preconditioning scaled(sigma);
  const at::Tensor facts = known(parts_->normaliser, sigma, condition.energy, condition.theta);
  return scaled.clean(noisy, parts_->layers->forward(at::cat({scaled.input(noisy), facts}, 1)));
}

at::Tensor CaloDiffusionImpl::denoise_cells(const at::Tensor& noisy, const at::Tensor& sigma,
                                            const at::Tensor& layers, const Condition& condition) {
  const Preconditioning scaled(sigma);
  const at::Tensor facts = known(parts_->normaliser, sigma, condition.energy, condition.theta);
  const std::array<std::string, 1> wanted = {"cells"};
  const NamedTensors said = nn::call(
      unet(), {{"cells_in", scaled.input(noisy)}, {"cells_known", at::cat({facts, layers}, 1)}}, wanted);
  return scaled.clean(noisy, said["cells"]);
}

at::Tensor CaloDiffusionImpl::to_gev(const at::Tensor& cells, const at::Tensor& layers,
                                     const Condition& condition) const {
  return parts_->normaliser->to_gev(cells, layers, condition.energy);
}

}  // namespace bunchtrain::models
