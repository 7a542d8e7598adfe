// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/shower_dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/data/shard_manifest.hpp"
#include "card_recognition.hpp"
#include "part_text.hpp"
#include "shower_part.hpp"
#include "shower_source.hpp"
#include "storage/file_list.hpp"

namespace bunchtrain::data {
namespace {

features::ShowerCard choose_card(const ShowerDatasetOptions& options,
                                 const std::vector<std::filesystem::path>& files) {
  if (options.card != "auto") return features::load_shower_card(options.card);
  if (const auto card = card_of_manifests(options.files); !card.empty())
    return features::load_shower_card(card);
  const std::string first = files.front().string();
  const auto name = recognise_card(hdf5::open_read_only(first), first);
  options.logger.info(fmt::format("{}: recognised as card {}", first, name));
  return features::load_shower_card(name);
}

// Whole files: those with the smallest of the numbers that the seed gives them.
std::vector<bool> choose_files(std::size_t files, const SplitOptions& options) {
  std::vector<std::size_t> order(files);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return CounterRandom(options.seed, a).uniform(0) < CounterRandom(options.seed, b).uniform(0);
  });
  const auto wanted =
      static_cast<std::size_t>(std::llround(options.valid_fraction * static_cast<double>(files)));
  const std::size_t least = options.valid_fraction > 0 ? 1 : 0;
  std::vector<bool> chosen(files, false);
  for (std::size_t i = 0; i < std::clamp(wanted, least, files - 1); ++i) chosen[order[i]] = true;
  return chosen;
}

RowRule valid_rule(const std::shared_ptr<const ShowerSource>& source, const SplitOptions& options) {
  const std::size_t files = source->files().size();
  if (source->pipeline().card().split_by_file && files > 1)
    return [source, chosen = choose_files(files, options)](std::size_t row) {
      return chosen[source->file_of(row)];
    };
  return [options](std::size_t row) {
    return CounterRandom(options.seed, row).uniform(0) < options.valid_fraction;
  };
}

ShowerOverview look_over(const ShowerSource& source) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  ShowerOverview overview{.showers = static_cast<std::int64_t>(source.rows()),
                          .lowest_energy = kInfinity,
                          .highest_energy = 0,
                          .sampling_fraction = source.median_ratio(0),
                          .lowest_theta = kInfinity,
                          .highest_theta = -kInfinity};
  for (std::size_t row = 0; row < source.rows(); ++row) {
    if (!source.kept(row)) continue;
    overview.lowest_energy = std::min<double>(overview.lowest_energy, source.energy(row));
    overview.highest_energy = std::max<double>(overview.highest_energy, source.energy(row));
    if (!source.has_angle()) continue;
    overview.lowest_theta = std::min<double>(overview.lowest_theta, source.theta(row));
    overview.highest_theta = std::max<double>(overview.highest_theta, source.theta(row));
  }
  return overview;
}

}  // namespace

struct ShowerDataset::Impl {
  std::shared_ptr<const ShowerSource> source;
  std::shared_ptr<const ShowerPart> all;
  ShowerOverview overview;

  Impl(const ShowerDatasetOptions& options, const std::vector<std::filesystem::path>& files,
       features::ShowerCard card)
      : source(std::make_shared<const ShowerSource>(options, files, std::move(card))),
        all(std::make_shared<const ShowerPart>(
            source, [](std::size_t) { return true; }, SplitPart{})),
        overview(look_over(*source)) {}
};

ShowerDataset::ShowerDataset(ShowerDatasetOptions options) {
  hdf5::allow_plugins(options.allow_plugins);
  const auto files = list_files(options.files, options.hash_data);
  impl_ = std::make_shared<const Impl>(options, files, choose_card(options, files));
}

ShowerDataset::ShowerDataset(ShowerDatasetOptions options, features::ShowerCard card) {
  hdf5::allow_plugins(options.allow_plugins);
  impl_ =
      std::make_shared<const Impl>(options, list_files(options.files, options.hash_data), std::move(card));
}

ShowerDataset::~ShowerDataset() = default;
ShowerDataset::ShowerDataset(const ShowerDataset&) = default;
ShowerDataset& ShowerDataset::operator=(const ShowerDataset&) = default;

DatasetSplit ShowerDataset::split(const SplitOptions& options) const {
  check_fraction(options);
  const RowRule is_valid = valid_rule(impl_->source, options);
  const RowRule is_train = [is_valid](std::size_t row) { return !is_valid(row); };
  const DatasetSplit split{
      .train = std::make_shared<const ShowerPart>(impl_->source, is_train, part_of(options, "train")),
      .valid = std::make_shared<const ShowerPart>(impl_->source, is_valid, part_of(options, "valid"))};
  require_parts(split, options, "showers");
  return split;
}

DatasetPtr ShowerDataset::all() const { return impl_->all; }
const features::ShowerCard& ShowerDataset::card() const noexcept { return impl_->source->pipeline().card(); }
std::int64_t ShowerDataset::size() const noexcept { return impl_->all->size(); }
const ShowerOverview& ShowerDataset::overview() const noexcept { return impl_->overview; }
double ShowerDataset::lowest_energy() const noexcept { return impl_->overview.lowest_energy; }
double ShowerDataset::highest_energy() const noexcept { return impl_->overview.highest_energy; }

}  // namespace bunchtrain::data
