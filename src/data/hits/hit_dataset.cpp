// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/hit_dataset.hpp"

#include <fmt/format.h>

#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/data/shard_manifest.hpp"
#include "card_recognition.hpp"
#include "jets/card_fit.hpp"
#include "jets/jet_part.hpp"
#include "jets/labelled_files.hpp"

namespace bunchtrain::data {
namespace {

features::Card choose_card(const HitDatasetOptions& options, const std::vector<LabelledFile>& files) {
  if (options.card != "auto") return features::load_card(options.card);
  if (const auto card = card_of_manifests(options.files); !card.empty()) return features::load_card(card);
  const std::string first = files.front().path.string();
  const std::string name = recognise_card(hdf5::open_read_only(first), first);
  options.logger.info(fmt::format("{}: recognised as card {}", first, name));
  return features::load_card(name);
}

features::Card with_choices(features::Card card, const HitDatasetOptions& options) {
  if (card.kind != features::CardKind::hits)
    throw ConfigError("card", card.name,
                      "a card of hits (kind = \"hits\"); this is one of jets, which JetDataset reads");
  if (!options.classes.empty()) features::override_class_order(card, options.classes);
  return card;
}

/// Events are read as jets are.
JetDatasetOptions as_rows(const HitDatasetOptions& options) {
  return {.files = options.files,
          .targets = options.targets,
          .labels_required = options.labels_required,
          .allow_plugins = options.allow_plugins,
          .threads = options.threads,
          .hash_data = options.hash_data,
          .io = options.io,
          .logger = options.logger};
}

}  // namespace

struct HitDataset::Impl {
  std::shared_ptr<const JetSource> source;
  std::shared_ptr<const JetPart> all;
  std::vector<std::filesystem::path> files;

  Impl(const HitDatasetOptions& options, const std::vector<LabelledFile>& listed, features::Card card)
      : source(std::make_shared<const JetSource>(as_rows(options), listed,
                                                 with_choices(std::move(card), options))) {
    for (const LabelledFile& file : listed) files.push_back(file.path);
    require_rows(*source);
    const RowRule every = [](std::size_t) { return true; };
    all = std::make_shared<const JetPart>(source, fit_card(source, every), every, SplitPart{});
  }
};

HitDataset::HitDataset(HitDatasetOptions options) {
  hdf5::allow_plugins(options.allow_plugins);
  const auto files = list_labelled_files(options.files, {}, options.hash_data);
  impl_ = std::make_shared<const Impl>(options, files, choose_card(options, files));
}

HitDataset::HitDataset(HitDatasetOptions options, features::Card card) {
  hdf5::allow_plugins(options.allow_plugins);
  impl_ = std::make_shared<const Impl>(options, list_labelled_files(options.files, {}, options.hash_data),
                                       std::move(card));
}

HitDataset::~HitDataset() = default;
HitDataset::HitDataset(const HitDataset&) = default;
HitDataset& HitDataset::operator=(const HitDataset&) = default;

DatasetSplit HitDataset::split(const SplitOptions& options) const {
  return split_rows(impl_->source, options);
}

DatasetPtr HitDataset::all() const { return impl_->all; }
const features::Card& HitDataset::card() const noexcept { return *impl_->all->card(); }
std::int64_t HitDataset::size() const noexcept { return impl_->all->size(); }
std::int64_t HitDataset::hits() const noexcept { return impl_->all->row_splits().back(); }
const std::vector<std::filesystem::path>& HitDataset::files() const noexcept { return impl_->files; }

}  // namespace bunchtrain::data
