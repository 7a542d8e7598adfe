// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/jet_dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/shard_manifest.hpp"
#include "card_fit.hpp"
#include "card_recognition.hpp"
#include "jet_part.hpp"
#include "jet_source.hpp"
#include "labelled_files.hpp"

namespace bunchtrain::data {
namespace {

features::Card choose_card(const JetDatasetOptions& options, std::span<const LabelledFile> files) {
  if (options.card != "auto") return features::load_card(options.card);
  if (const auto card = card_of_manifests(options.files); !card.empty()) return features::load_card(card);
  const std::string first = files.front().path.string();
  features::Card card = features::load_card(recognise_card(hdf5::open_read_only(first), first));
  options.logger.info(fmt::format("{}: recognised as card {} (labels {})", first, card.name,
                                  features::describe_labels(card)));
  return card;
}

/// The card before the file became its label, where it is a built-in one: its name tells where labels are.
features::Card with_own_label(const features::Card& card) {
  const auto names = features::builtin_cards();
  const bool known = std::find(names.begin(), names.end(), card.name) != names.end();
  return known && card.label == features::kFileLabel ? features::load_card(card.name) : card;
}

/// The class of files for which it was said becomes the label.
features::Card with_file_classes(features::Card card, std::span<const LabelledFile> files) {
  const auto classes = class_names(files);
  if (classes.empty()) return card;
  check_own_labels(files, card);
  features::label_by_file(card, classes);
  return card;
}

features::Card with_choices(features::Card card, const JetDatasetOptions& options) {
  if (card.kind != features::CardKind::jets)
    throw ConfigError("card", card.name, "a card of jets; this is one of hits, which data::HitDataset reads");
  if (options.ragged) card.ragged = true;
  if (options.length != 0) features::override_length(card, options.length);
  if (!options.classes.empty()) features::override_class_order(card, options.classes);
  return card;
}

}  // namespace

struct JetDataset::Impl {
  std::shared_ptr<const JetSource> source;
  std::shared_ptr<const JetPart> all;
  std::vector<std::filesystem::path> files;

  Impl(const JetDatasetOptions& options, std::span<const LabelledFile> labelled, features::Card card)
      : source(std::make_shared<const JetSource>(options, labelled, with_choices(std::move(card), options))) {
    for (const LabelledFile& file : labelled) files.push_back(file.path);
    require_rows(*source);
    const RowRule every = [](std::size_t) { return true; };
    all = std::make_shared<const JetPart>(source, fit_card(source, every), every, SplitPart{});
  }
};

JetDataset::JetDataset(JetDatasetOptions options) {
  hdf5::allow_plugins(options.allow_plugins);
  const auto files = list_labelled_files(options.files, options.class_files, options.hash_data);
  auto card = with_file_classes(choose_card(options, files), files);
  impl_ = std::make_shared<const Impl>(options, files, std::move(card));
}

JetDataset::JetDataset(JetDatasetOptions options, features::Card card) {
  hdf5::allow_plugins(options.allow_plugins);
  const auto files = list_labelled_files(options.files, options.class_files, options.hash_data);
  if (const auto classes = class_names(files); !classes.empty()) {
    check_own_labels(files, with_own_label(card));
    features::label_by_file_of_known_classes(card, classes);
  }
  impl_ = std::make_shared<const Impl>(options, files, std::move(card));
}

JetDataset::~JetDataset() = default;
JetDataset::JetDataset(const JetDataset&) = default;
JetDataset& JetDataset::operator=(const JetDataset&) = default;

DatasetSplit JetDataset::split(const SplitOptions& options) const {
  return split_rows(impl_->source, options);
}

DatasetPtr JetDataset::all() const { return impl_->all; }
const features::Card& JetDataset::card() const noexcept { return *impl_->all->card(); }
std::int64_t JetDataset::size() const noexcept { return impl_->all->size(); }
JetDataset::RowReference JetDataset::row_of(std::int64_t sample) const { return impl_->all->row_of(sample); }

std::vector<JetDataset::RowReference> JetDataset::rows_of(const Dataset& part) const {
  const auto* own = dynamic_cast<const JetPart*>(&part);
  expects(own != nullptr, "rows are known of the parts of HDF5 files only");
  return own->rows();
}

bool JetDataset::is_validated(RowReference row, const SplitOptions& options, FilePlace place) const {
  const JetSource& source = *impl_->source;
  if (!source.splits_by_key())
    return goes_to_validation(static_cast<std::uint64_t>(place.first_row + row.row), options);
  std::size_t first = 0;
  for (std::int32_t file = 0; file < row.file; ++file)
    first += source.files()[static_cast<std::size_t>(file)].rows();
  return goes_to_validation(source.split_key(first + static_cast<std::size_t>(row.row)), options);
}

const std::vector<std::filesystem::path>& JetDataset::files() const noexcept { return impl_->files; }

std::string JetDataset::rows_as_bytes() const { return impl_->source->rows_as_bytes(); }
bool JetDataset::labels_read() const noexcept { return impl_->source->labels_read(); }

std::int64_t JetDataset::rows_in_file(std::size_t file) const {
  return static_cast<std::int64_t>(impl_->source->files().at(file).rows());
}

}  // namespace bunchtrain::data
