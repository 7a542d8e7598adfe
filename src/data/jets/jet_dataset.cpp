// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/jet_dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/features/standardisation.hpp"
#include "card_recognition.hpp"
#include "jet_part.hpp"
#include "jet_source.hpp"
#include "labelled_files.hpp"
#include "part_text.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::int64_t kRowsFitted = 65536;  // means are then known to a few per mille of a width

features::Card choose_card(const JetDatasetOptions& options, std::span<const LabelledFile> files) {
  if (options.card != "auto") return features::load_card(options.card);
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
  if (options.length != 0) features::override_length(card, options.length);
  if (!options.classes.empty()) features::override_class_order(card, options.classes);
  return card;
}

void fit_weights(features::Card& card, const WeightSums& weights) {
  if (weights.count() == 0 || card.weight_factor) return;
  features::freeze_weight_factor(card, weights.mean_magnitude());
  if (weights.negative_share() >= 0.5)
    throw DataError(
        fmt::format("the weights \"{}\" of card '{}' do not add up to more than 0 ({} of {} jets have a "
                    "negative one, {:.1f} % of "
                    "the sum of magnitudes): training would raise the loss; change sample under [weights] of "
                    "the card to\n  "
                    "sample = \"abs({})\"",
                    card.sample_weight, card.name, weights.negative(), weights.count(),
                    100 * weights.negative_share(), card.sample_weight));
}

/// Networks estimate targets in units of their width, around their mean.
void fit_targets(features::Card& card, const JetPart& part, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto target = std::ranges::find(card.targets, names[i], &features::TargetSpec::name);
    if (target->width) continue;
    const JetPart::Spread found = part.spread(i);
    if (found.samples == 0) continue;  // files without it, which evaluation may read
    constexpr double kRounding = 1e-12;
    if (!(found.width > kRounding * std::abs(found.mean)))
      throw DataError(
          fmt::format("the target '{}' (\"{}\") of card '{}' is {} for all of {} jets: there is nothing to "
                      "learn; change [targets] of the card",
                      target->name, target->expression, card.name, found.mean, found.samples));
    target->mean = found.mean;
    target->width = found.width;
  }
}

// Everything that a card leaves to the data is taken from the rows of `rule`.
features::Card fit_card(const std::shared_ptr<const JetSource>& source, const RowRule& rule) {
  features::Card card = source->card();
  // Weights first: without their factor they may not be finite as floats.
  if (features::needs_weights(card)) {
    const JetPart draft(source, card, rule, SplitPart{});
    features::freeze_class_weights(card, draft.summary().class_counts);
    fit_weights(card, draft.weigh(card.class_weights));
  }
  if (!source->targets().empty())
    fit_targets(card, JetPart(source, card, rule, SplitPart{}), source->targets());
  if (features::needs_fit(card)) {
    const JetPart draft(source, card, rule, SplitPart{});
    features::freeze(card, draft.survey(kRowsFitted).columns);
  }
  return card;
}

bool goes_to_validation(std::uint64_t key, const SplitOptions& options) {
  return CounterRandom(options.seed, key).uniform(0) < options.valid_fraction;
}

void require_rows(const JetSource& source) {
  for (std::size_t row = 0; row < source.rows(); ++row)
    if (source.kept(row)) return;
  const auto& card = source.card();
  const std::string selection =
      card.select.empty() ? "" : fmt::format(" passes the selection \"{}\" and", card.select);
  const auto& counts = source.counts();
  throw DataError(fmt::format(
      "none of the {} rows of {}{} belongs to a class of card '{}' ({} are not selected, {} have "
      "another label, {} hold NaN or infinity); look at the columns with {}, then change [select] or "
      "[label] of the card",
      source.rows(), source.files().front().path(), selection, card.name, counts.not_selected,
      counts.other_labels, counts.not_finite, way_to(Advice::look_at_data, source.files().front().path())));
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
  const auto files = list_labelled_files(options.files, options.class_files);
  auto card = with_file_classes(choose_card(options, files), files);
  impl_ = std::make_shared<const Impl>(options, files, std::move(card));
}

JetDataset::JetDataset(JetDatasetOptions options, features::Card card) {
  hdf5::allow_plugins(options.allow_plugins);
  const auto files = list_labelled_files(options.files, options.class_files);
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
  check_fraction(options);
  const auto source = impl_->source;
  const auto is_valid = [source, options](std::size_t row) {
    return goes_to_validation(source->split_key(row), options);
  };
  const RowRule train_rule = [is_valid](std::size_t row) { return !is_valid(row); };
  const features::Card card = fit_card(source, train_rule);
  const DatasetSplit split{
      .train = std::make_shared<const JetPart>(source, card, train_rule, part_of(options, "train")),
      .valid = std::make_shared<const JetPart>(source, card, RowRule(is_valid), part_of(options, "valid"))};
  require_parts(split, options, "jets");
  return split;
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

std::int64_t JetDataset::rows_in_file(std::size_t file) const {
  return static_cast<std::int64_t>(impl_->source->files().at(file).rows());
}

}  // namespace bunchtrain::data
