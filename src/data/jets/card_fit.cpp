// SPDX-License-Identifier: Apache-2.0
#include "card_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/features/standardisation.hpp"
#include "jet_part.hpp"
#include "part_text.hpp"

namespace bunchtrain::data {
namespace {

constexpr std::int64_t kRowsFitted = 65536;  // means are then known to a few per mille of a width

/// What weights and targets are of: for cards of hits mostly hits.
std::string_view noun_of(const features::Card& card) {
  return card.kind == features::CardKind::hits ? "hits" : "jets";
}

void fit_weights(features::Card& card, const WeightSums& weights) {
  if (weights.count() == 0 || card.weight_factor) return;
  features::freeze_weight_factor(card, weights.mean_magnitude());
  if (weights.negative_share() >= 0.5)
    throw DataError(
        fmt::format("the weights \"{}\" of card '{}' do not add up to more than 0 ({} of {} {} have a "
                    "negative one, {:.1f} % of "
                    "the sum of magnitudes): training would raise the loss; change sample under [weights] of "
                    "the card to\n  "
                    "sample = \"abs({})\"",
                    card.sample_weight, card.name, weights.negative(), weights.count(), noun_of(card),
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
          fmt::format("the target '{}' (\"{}\") of card '{}' is {} for all of {} {}: there is nothing to "
                      "learn; change [targets] of the card",
                      target->name, target->expression, card.name, found.mean, found.samples, noun_of(card)));
    target->mean = found.mean;
    target->width = found.width;
  }
}

}  // namespace

features::Card fit_card(const std::shared_ptr<const JetSource>& source, const RowRule& rule) {
  features::Card card = source->card();
  // Weights first: without their factor they may not be finite as floats.
  if (features::needs_weights(card)) {
    const JetPart draft(source, card, rule, SplitPart{}, JetPart::Particles::of_card);
    features::freeze_class_weights(card, draft.summary().class_counts);
    fit_weights(card, draft.weigh(card.class_weights));
  }
  if (!source->targets().empty())
    fit_targets(card, JetPart(source, card, rule, SplitPart{}, JetPart::Particles::of_card),
                source->targets());
  if (features::needs_fit(card)) {
    const JetPart draft(source, card, rule, SplitPart{}, JetPart::Particles::of_card);
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

DatasetSplit split_rows(const std::shared_ptr<const JetSource>& source, const SplitOptions& options) {
  check_fraction(options);
  const auto is_valid = [source, options](std::size_t row) {
    return goes_to_validation(source->split_key(row), options);
  };
  const RowRule train_rule = [is_valid](std::size_t row) { return !is_valid(row); };
  const features::Card card = fit_card(source, train_rule);
  const DatasetSplit split{
      .train = std::make_shared<const JetPart>(source, card, train_rule, part_of(options, "train")),
      .valid = std::make_shared<const JetPart>(source, card, RowRule(is_valid), part_of(options, "valid"))};
  require_parts(split, options, std::string(features::sample_word(card.kind)) + "s");
  return split;
}

}  // namespace bunchtrain::data
