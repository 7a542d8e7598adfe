// SPDX-License-Identifier: Apache-2.0
#include <ATen/core/Tensor.h>
#include <ATen/ops/sum.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/text_format.hpp"
#include "bunchtrain/simulate/gflash.hpp"
#include "shower_batch.hpp"
#include "shower_generator.hpp"

namespace bunchtrain::simulate {
namespace {

constexpr std::int64_t kShowersPerRange = 16;

std::string describe(const GflashOptions& options) {
  std::string text =
      fmt::format("{} GFlash {}s, {:g}-{:g} GeV, {}x{}x{}", format_integer(options.count),
                  options.particle == ShowerParticle::electron ? "electron" : "photon", options.lowest_energy,
                  options.highest_energy, options.cells[0], options.cells[1], options.cells[2]);
  constexpr double kDegrees = 180 / std::numbers::pi;
  if (options.inclined)
    text += fmt::format(", {:.4g}-{:.4g} degrees", options.lowest_theta * kDegrees,
                        options.highest_theta * kDegrees);
  return text;
}

std::string material_text(const Material& material) {
  return fmt::format("{} {} {} {} {}", material.z, material.a, material.density, material.radiation_length,
                     material.minimum_loss);
}

/// Everything that the showers depend on, and the version of the formulas.
std::string fingerprint(const GflashDatasetOptions& options) {
  const GflashOptions& showers = options.showers;
  const SamplingCalorimeter& calorimeter = showers.calorimeter;
  std::string text = fmt::format(
      "gflash 1; {} {} {} {} {} {} {} {} {}; {} {} {}", static_cast<int>(showers.particle), showers.cells[0],
      showers.cells[1], showers.cells[2], showers.lowest_energy, showers.highest_energy, showers.inclined,
      showers.count, showers.seed, options.first, options.image_scale, options.image_power);
  if (showers.inclined) text += fmt::format("; {} {}", showers.lowest_theta, showers.highest_theta);
  text +=
      fmt::format("; {}; {}; {} {} {} {} {} {} {}", material_text(calorimeter.absorber),
                  material_text(calorimeter.active), calorimeter.absorber_thickness,
                  calorimeter.active_thickness, calorimeter.layer_pitch, calorimeter.cell_pitch,
                  calorimeter.sampling_resolution, calorimeter.electron_response, calorimeter.depth_before);
  return hash_hex(text);
}

class GflashDataset final : public data::Dataset {
 public:
  explicit GflashDataset(const GflashDatasetOptions& options)
      : options_(options), generator_(options.showers) {
    for (std::int64_t at = 0; at < options.showers.count; at += kShowersPerRange)
      ranges_.push_back({.first = at, .count = std::min(kShowersPerRange, options.showers.count - at)});
    summary_.description = describe(options.showers);
    summary_.paths = {"image: made when read, nothing is stored"};
    summary_.fingerprint = fingerprint(options);
  }

  std::int64_t size() const noexcept override { return options_.showers.count; }
  std::span<const data::SampleRange> ranges() const noexcept override { return ranges_; }
  const data::DatasetSummary& summary() const override { return summary_; }

  data::SampleBlock read(std::size_t range) const override {
    const data::SampleRange& part = ranges_.at(range);
    data::SampleBlock block{
        .tensors = make_shower_batch(generator_, options_.first + part.first, part.count, Threads::one),
        .range = part};
    at::Tensor image = block.tensors["image"];
    if (options_.image_scale != 1) image.mul_(options_.image_scale);
    block.tensors.set("sum", image.sum({1, 2, 3}));
    if (options_.image_power != 1) image.pow_(options_.image_power);
    return block;
  }

 private:
  GflashDatasetOptions options_;
  ShowerGenerator generator_;
  std::vector<data::SampleRange> ranges_;
  data::DatasetSummary summary_;
};

void require_positive(std::string_view field, double value) {
  if (!(value > 0 && std::isfinite(value)))
    throw ConfigError(field, fmt::format("{}", value), "a positive number");
}

}  // namespace

data::DatasetPtr make_gflash_dataset(const GflashDatasetOptions& options) {
  require_positive("image_scale", options.image_scale);
  require_positive("image_power", options.image_power);
  if (options.first < 0) throw ConfigError("first", fmt::format("{}", options.first), "not negative");
  return std::make_shared<GflashDataset>(options);
}

}  // namespace bunchtrain::simulate
