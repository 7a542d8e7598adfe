// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/recognition.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "bunchtrain/features/feature_pipeline.hpp"
#include "detail/dataset_shapes.hpp"

namespace bunchtrain::features {
namespace {

using detail::find_dataset;
using detail::is_number;
using detail::shape_text;

/// How many numbers a slice takes of `available`, -1 if it reaches beyond.
std::int64_t slice_length(const ReadSource& source, std::int64_t available) {
  const std::int64_t end = source.slice_end < 0 ? available : source.slice_end;
  return end > available || source.slice_begin > end ? -1 : end - source.slice_begin;
}

/// Numbers in the innermost place must be the columns, or for particles a multiple of them where slots are
/// not an axis.
std::string judge_numbers(const ReadSource& source, const DatasetShape& dataset, std::int64_t available,
                          bool folded) {
  const std::int64_t taken = slice_length(source, available);
  const auto columns = static_cast<std::int64_t>(source.columns.size());
  const bool fits = folded ? taken > 0 && taken % columns == 0 : taken == columns;
  if (columns > 0 && fits) return {};
  return fmt::format("{}, the card reads {} columns per {}", shape_text(dataset), columns,
                     source.per_particle ? "particle" : "jet");
}

std::string judge_members(const ReadSource& source, const DatasetShape& dataset) {
  const std::size_t rank = source.per_particle ? 2 : 1;
  if (dataset.shape.size() != rank) {
    return fmt::format("{}, the card reads a compound of rank {}", shape_text(dataset), rank);
  }
  for (const std::string& column : source.columns) {
    const auto member = std::ranges::find(dataset.members, column, &MemberShape::name);
    if (member == dataset.members.end()) return fmt::format("{} has no member {}", dataset.name, column);
    if (!is_number(member->kind) || member->values != 1) {
      return fmt::format("{}: member {} is not one number", dataset.name, column);
    }
  }
  return {};
}

/// What keeps `source` from being read from `dataset`; empty if nothing.
std::string judge_source(const ReadSource& source, const DatasetShape& dataset) {
  if (dataset.shape.empty()) return fmt::format("{} is a single value, not one row per jet", dataset.name);
  if (!source.member.empty()) {
    const auto member = std::ranges::find(dataset.members, source.member, &MemberShape::name);
    if (member == dataset.members.end())
      return fmt::format("{} has no member {}", dataset.name, source.member);
    if (!is_number(member->kind))
      return fmt::format("{}: member {} holds no numbers", dataset.name, source.member);
    return judge_numbers(source, dataset, member->values, source.per_particle && dataset.shape.size() == 1);
  }
  if (dataset.kind == ElementKind::compound) return judge_members(source, dataset);
  if (!is_number(dataset.kind)) return fmt::format("{} holds no numbers", dataset.name);
  const std::size_t rank = dataset.shape.size();
  const std::size_t highest = source.per_particle ? 3 : 2, lowest = source.per_particle ? 2 : 1;
  if (rank < lowest || rank > highest) {
    return fmt::format("{}, the card reads values per {}", shape_text(dataset),
                       source.per_particle ? "particle" : "jet");
  }
  const std::int64_t available = rank == 1 ? 1 : dataset.shape.back();
  return judge_numbers(source, dataset, available, source.per_particle && rank == 2);
}

/// Whether the card can do without `source`: only label, weights or split want its columns.
bool is_optional(const ReadSource& source, const FeaturePipeline& pipeline) {
  const auto wanted_by = [&source](const std::vector<std::string>& names) {
    return std::ranges::any_of(source.columns, [&](const std::string& column) {
      return std::ranges::find(names, (source.per_particle ? "part." : "jet.") + column) != names.end();
    });
  };
  std::vector<std::string> always;
  std::ranges::set_difference(pipeline.required_columns(), pipeline.optional_columns(),
                              std::back_inserter(always));
  return wanted_by(pipeline.optional_columns()) && !wanted_by(always);
}

bool is_part_of(const CardFit& one, const CardFit& other) {
  const std::set<std::string> small(one.matched.begin(), one.matched.end());
  const std::set<std::string> large(other.matched.begin(), other.matched.end());
  return large.size() > small.size() && std::ranges::includes(large, small);
}

}  // namespace

CardFit fit_card(const Card& card, std::span<const DatasetShape> datasets) {
  const FeaturePipeline pipeline(card);
  CardFit fit{.card = card.name, .matched = {}, .problems = {}};
  std::int64_t rows = -1;
  for (const ReadSource& source : card.sources) {
    const DatasetShape* dataset = find_dataset(datasets, source.dataset);
    if (!dataset) {
      if (is_optional(source, pipeline))
        fit.labelled = false;
      else
        fit.problems.push_back(fmt::format("{} is missing", source.dataset));
      continue;
    }
    std::string problem = judge_source(source, *dataset);
    if (problem.empty()) {
      if (rows < 0) rows = dataset->shape.front();
      if (dataset->shape.front() != rows) {
        problem = fmt::format("{} has {} rows, other datasets have {}", dataset->name, dataset->shape.front(),
                              rows);
      }
    }
    if (problem.empty())
      fit.matched.push_back(source.dataset);
    else
      fit.problems.push_back(std::move(problem));
  }
  return fit;
}

std::vector<CardFit> fit_builtin_cards(std::span<const DatasetShape> datasets) {
  std::vector<CardFit> fits;
  for (const std::string& name : builtin_cards()) fits.push_back(fit_card(load_card(name), datasets));
  for (const std::string& name : builtin_shower_cards())
    fits.push_back(fit_card(load_shower_card(name), datasets));
  std::ranges::stable_sort(fits, [](const CardFit& a, const CardFit& b) {
    if (a.fits() != b.fits()) return a.fits();
    if (a.matched.size() != b.matched.size()) return a.matched.size() > b.matched.size();
    return a.problems.size() < b.problems.size();
  });
  return fits;
}

std::optional<std::string> recognise(std::span<const DatasetShape> datasets) {
  std::vector<CardFit> fits = fit_builtin_cards(datasets);
  std::erase_if(fits, [](const CardFit& fit) { return !fit.fits(); });
  std::vector<std::string> best;
  for (const CardFit& fit : fits) {
    if (std::ranges::none_of(fits, [&fit](const CardFit& other) { return is_part_of(fit, other); }))
      best.push_back(fit.card);
  }
  if (best.size() != 1) return std::nullopt;
  return best.front();
}

std::string describe_nearest(std::span<const DatasetShape> datasets) {
  const CardFit nearest = fit_builtin_cards(datasets).front();
  if (nearest.matched.empty()) return {};
  if (nearest.fits())
    return fmt::format("the card {} fits{}", nearest.card, nearest.labelled ? "" : ", without labels");
  return fmt::format("the nearest card is {}: {}", nearest.card, fmt::join(nearest.problems, "; "));
}

}  // namespace bunchtrain::features
