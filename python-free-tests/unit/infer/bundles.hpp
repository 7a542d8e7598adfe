// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Bundles of untrained networks, and raw columns as a host has them.

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/raw_columns.hpp"
#include "bunchtrain/features/raw_ranges.hpp"
#include "bunchtrain/infer/raw_jets.hpp"
#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/models/registry.hpp"
#include "bunchtrain/weights/bundle.hpp"
#include "bunchtrain/weights/module_weights.hpp"

namespace bunchtrain::infer::test {

/// Running statistics and affine numbers of batch norms as a training leaves them: none is 0 or 1.
inline void stir(torch::nn::Module& module, std::uint64_t seed = 7) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> spread(-0.3F, 0.3F);
  for (const auto& [name, tensor] : weights::named_state(module)) {
    if (tensor.dim() != 1) continue;
    float* values = tensor.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] += spread(random);
  }
}

/// A ParticleNet for a card, as `train_particlenet` would make it.
inline weights::Bundle make_bundle(const features::Card& card, models::ParticleNetOptions options) {
  options.num_features = static_cast<std::int64_t>(card.num_inputs("features"));
  options.num_classes = std::ssize(card.classes);
  models::ParticleNet network(options);
  stir(*network);
  weights::Bundle bundle{.weights = weights::named_state(*network),
                         .model = network->description(),
                         .card = features::to_toml(card)};
  for (const auto& spec : card.classes) bundle.classes.push_back(spec.name);
  return bundle;
}

/// Ranges of a training, of all columns of top_tagging alike.
inline void add_ranges(weights::Bundle& bundle, double minimum = -40, double maximum = 60) {
  features::RawRanges ranges{.jets = 1000};
  for (const char* name : {"part.e", "part.px", "part.py", "part.pz"})
    ranges.columns[name] = {minimum, maximum};
  bundle.metadata[features::kRangesKey] = features::to_text(ranges);
}

/// A 3DGAN generator, variant "fixed" or "angle".
inline weights::Bundle make_generator_bundle(const std::string& variant) {
  const std::string model = R"({"model": "3dgan-generator", "variant": ")" + variant + R"("})";
  const auto network = models::create_from(model);
  stir(*network);
  return {.weights = weights::named_state(*network), .model = model};
}

/// Raw columns as they were read, as views.
class Columns {
 public:
  Columns(const features::RawColumns& raw, const std::vector<InputColumn>& needed) : raw_(raw) {
    for (const InputColumn& column : needed) {
      const std::string name = column.name.substr(column.name.find('.') + 1);
      if (column.of_particles)
        views_.push_back({.name = column.name, .values = raw.particle.at(name), .unit = column.unit});
      else
        views_.push_back({.name = column.name, .doubles = raw.jet.at(name), .unit = column.unit});
    }
  }
  RawJets jets() const {
    return {.count = raw_.rows,
            .slots = raw_.slots,
            .row_splits = raw_.row_splits,
            .counts = raw_.counts,
            .columns = views_};
  }
  std::vector<RawColumn>& views() { return views_; }

 private:
  const features::RawColumns& raw_;
  std::vector<RawColumn> views_;
};

/// A part of padded jets.
inline RawJets part(const RawJets& jets, std::vector<RawColumn>& columns, std::int64_t first,
                    std::int64_t count) {
  columns.assign(jets.columns.begin(), jets.columns.end());
  for (RawColumn& column : columns) {
    const auto skipped =
        static_cast<std::size_t>(first * (column.name.starts_with("part.") ? jets.slots : 1));
    if (!column.values.empty()) column.values = column.values.subspan(skipped);
    if (!column.doubles.empty()) column.doubles = column.doubles.subspan(skipped);
  }
  RawJets some = jets;
  some.count = count;
  some.columns = columns;
  if (!jets.counts.empty())
    some.counts = jets.counts.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  return some;
}

class BundleFolder {
 public:
  BundleFolder() { std::filesystem::create_directories(path_); }
  ~BundleFolder() { std::filesystem::remove_all(path_); }
  BundleFolder(const BundleFolder&) = delete;
  BundleFolder& operator=(const BundleFolder&) = delete;

  std::filesystem::path write(const weights::Bundle& bundle, const std::string& name = "net") const {
    weights::write_bundle(path_ / name, bundle);
    return path_ / name;
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("bunchtrain_infer_" + std::to_string(getpid()));
};

}  // namespace bunchtrain::infer::test
