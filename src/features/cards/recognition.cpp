// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/recognition.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/features/feature_pipeline.hpp"
#include "dataset_shapes.hpp"

namespace bunchtrain::features {
namespace {

using detail::find_dataset;
using detail::is_number;
using detail::shape_text;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

bool has_member(const DatasetShape& dataset, const std::string& name) {
  return std::ranges::find(dataset.members, name, &MemberShape::name) != dataset.members.end();
}

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

/// What keeps `source` from being read from `dataset`; empty if nothing.
std::string judge_source(const ReadSource& source, const DatasetShape& dataset) {
  if (dataset.shape.empty()) return fmt::format("{} is a single value, not one row per jet", dataset.name);
  if (!source.member.empty()) {
    const auto member = std::ranges::find(dataset.members, source.member, &MemberShape::name);
    if (!is_number(member->kind))
      return fmt::format("{}: member {} holds no numbers", dataset.name, source.member);
    return judge_numbers(source, dataset, member->values, source.per_particle && dataset.shape.size() == 1);
  }
  if (!is_number(dataset.kind)) return fmt::format("{} holds no numbers", dataset.name);
  const std::size_t rank = dataset.shape.size();
  const std::size_t highest = source.per_particle ? 3 : 2, lowest = source.per_particle ? 2 : 1;
  if (rank < lowest || rank > highest) {
    return fmt::format("{}, the card reads values per {}", shape_text(dataset),
                       source.per_particle ? "particle" : "jet");
  }
  const std::int64_t available = rank == 1 ? 1 : dataset.shape.back();
  // A row of numbers is particles one behind the other only for a card that says which numbers.
  const bool folded = rank == 2 && (source.slice_end >= 0 || source.columns.size() == 1);
  return judge_numbers(source, dataset, available, source.per_particle && folded);
}

/// Of elements one behind the other each row is one, with its columns.
ReadSource as_rows(ReadSource source) {
  source.per_particle = false;
  return source;
}

/// Collects what a card of jets or hits finds and misses, column by column where columns have names in the file.
class JetFit {
 public:
  JetFit(const Card& card, std::span<const DatasetShape> datasets)
      : card_(card),
        datasets_(datasets),
        pipeline_(card),
        fit_{.card = card.name, .matched = {}, .problems = {}, .kind = card.kind} {
    judge_layout();
    for (const ReadSource& source : card.sources) judge(source);
    judge_open_columns();
  }

  CardFit result() && { return std::move(fit_); }

 private:
  /// The datasets that say how many elements samples have.
  void judge_layout() {
    const LayoutSpec& layout = card_.layout;
    const auto rows_of = [this](const NumberPlace& place) -> std::int64_t {
      if (place.empty()) return -1;
      const DatasetShape* dataset = find_dataset(datasets_, place.dataset);
      const bool lacks_member =
          dataset && !place.member.empty() &&
          std::ranges::find(dataset->members, place.member, &MemberShape::name) == dataset->members.end();
      if (!dataset || dataset->shape.empty() || lacks_member) {
        fit_.problems.push_back(!dataset ? fmt::format("{} is missing", place.dataset)
                                : lacks_member
                                    ? fmt::format("{} has no member {}", place.dataset, place.member)
                                    : fmt::format("{} is a single value", place.dataset));
        return -1;
      }
      match(dataset->name);
      return dataset->shape.front();
    };
    if (const std::int64_t splits = rows_of(layout.row_splits); splits > 0) rows_ = splits - 1;
    for (const NumberPlace* place : {&layout.counts, &layout.events})
      if (const std::int64_t rows = rows_of(*place); rows >= 0) rows_ = rows;
    element_rows_ = rows_of(layout.event);
  }

  bool is_row_of_elements(const ReadSource& source) const {
    return source.per_particle && has_ragged_rows(card_);
  }

  void judge(const ReadSource& source) {
    if (source.group) {
      for (const std::string& column : source.columns) judge_dataset_of_group(source, column);
      return;
    }
    const DatasetShape* dataset = find_dataset(datasets_, source.dataset);
    if (!dataset) return lack_all(source, fmt::format("{} is missing", source.dataset));
    if (!source.member.empty() && !has_member(*dataset, source.member))
      return lack_all(source, fmt::format("{} has no member {}", dataset->name, source.member));
    if (!contains(fit_.matched, dataset->name)) add(fit_.present, dataset->name);
    const bool by_member = dataset->kind == ElementKind::compound && source.member.empty();
    const bool elements = is_row_of_elements(source);
    std::string problem = by_member  ? judge_compound(source, *dataset)
                          : elements ? judge_source(as_rows(source), *dataset)
                                     : judge_source(source, *dataset);
    if (problem.empty()) problem = judge_rows(*dataset, elements ? element_rows_ : rows_);
    if (problem.empty())
      match(dataset->name);
    else
      fit_.problems.push_back(std::move(problem));
  }

  void judge_dataset_of_group(const ReadSource& source, const std::string& column) {
    ReadSource one = source;
    one.dataset = source.dataset.empty() ? column : source.dataset + "/" + column;
    one.group = false;
    one.columns = {column};
    judge(one);
  }

  /// Members that are listed; those that are not needed may be missing.
  std::string judge_compound(const ReadSource& source, const DatasetShape& dataset) {
    const std::size_t rank = source.per_particle && !is_row_of_elements(source) ? 2 : 1;
    if (dataset.shape.size() != rank)
      return fmt::format("{}, the card reads a compound of rank {}", shape_text(dataset), rank);
    std::vector<std::string> missing;
    for (const std::string& column : source.columns) {
      if (!is_required(source, column)) continue;
      const auto member = std::ranges::find(dataset.members, column, &MemberShape::name);
      if (member == dataset.members.end()) {
        if (is_optional(source, column))
          fit_.labelled = false;
        else
          missing.push_back(column);
      } else if (!is_number(member->kind) || member->values != 1) {
        return fmt::format("{}: member {} is not one number", dataset.name, column);
      }
    }
    if (missing.empty()) return {};
    return fmt::format("{} has no member {}", dataset.name, fmt::join(missing, ", "));
  }

  /// Columns that no source lists must be in one of those that list none.
  void judge_open_columns() {
    for (const std::string& name : pipeline_.required_columns()) {
      const bool per_particle = name.starts_with("part.");
      const std::string column = name.substr(name.find('.') + 1);
      if (column == kFileColumn || is_listed(per_particle, column)) continue;
      if (is_in_open_source(per_particle, column)) continue;
      if (contains(pipeline_.optional_columns(), name))
        fit_.labelled = false;
      else
        fit_.problems.push_back(fmt::format("{} is missing", name));
    }
  }

  bool is_listed(bool per_particle, const std::string& column) const {
    return std::ranges::any_of(card_.sources, [&](const ReadSource& source) {
      return source.per_particle == per_particle && contains(source.columns, column);
    });
  }

  bool is_in_open_source(bool per_particle, const std::string& column) {
    return std::ranges::any_of(card_.sources, [&](const ReadSource& source) {
      if (source.per_particle != per_particle || !source.columns.empty()) return false;
      if (source.group) return find_dataset(datasets_, source.dataset + "/" + column) != nullptr;
      const DatasetShape* dataset = find_dataset(datasets_, source.dataset);
      return dataset && has_member(*dataset, column);
    });
  }

  static std::string judge_rows(const DatasetShape& dataset, std::int64_t& rows) {
    if (rows < 0) rows = dataset.shape.front();
    if (dataset.shape.front() == rows) return {};
    return fmt::format("{} has {} rows, other datasets have {}", dataset.name, dataset.shape.front(), rows);
  }

  void match(const std::string& dataset) {
    add(fit_.matched, dataset);
    std::erase(fit_.present, dataset);
  }
  static void add(std::vector<std::string>& names, const std::string& name) {
    if (!contains(names, name)) names.push_back(name);
  }

  /// What only label, weights or split want may be missing. A dataset that nothing uses tells layouts apart.
  void lack_all(const ReadSource& source, std::string problem) {
    bool wanted = false, needed = false;
    for (const std::string& column : source.columns) {
      wanted |= is_required(source, column);
      needed |= is_required(source, column) && !is_optional(source, column);
    }
    if (wanted && !needed)
      fit_.labelled = false;
    else
      fit_.problems.push_back(std::move(problem));
  }

  static std::string full_name(const ReadSource& source, const std::string& column) {
    return (source.per_particle ? "part." : "jet.") + column;
  }
  bool is_required(const ReadSource& source, const std::string& column) const {
    return contains(pipeline_.required_columns(), full_name(source, column));
  }
  bool is_optional(const ReadSource& source, const std::string& column) const {
    return contains(pipeline_.optional_columns(), full_name(source, column));
  }

  const Card& card_;
  std::span<const DatasetShape> datasets_;
  FeaturePipeline pipeline_;
  CardFit fit_;
  std::int64_t rows_ = -1, element_rows_ = -1;
};

bool is_part_of(const CardFit& one, const CardFit& other) {
  const std::set<std::string> small(one.matched.begin(), one.matched.end());
  const std::set<std::string> large(other.matched.begin(), other.matched.end());
  return large.size() > small.size() && std::ranges::includes(large, small);
}

std::string choice_text(const CardFit& fit) {
  if (fit.kind != CardKind::jets) return setting("card", fit.card);
  return fmt::format("{} ({})", setting("card", fit.card), describe_labels(load_card(fit.card)));
}

}  // namespace

CardFit fit_card(const Card& card, std::span<const DatasetShape> datasets) {
  return JetFit(card, datasets).result();
}

std::vector<CardFit> fit_builtin_cards(std::span<const DatasetShape> datasets) {
  std::vector<CardFit> fits;
  for (const std::string& name : builtin_cards()) fits.push_back(fit_card(load_card(name), datasets));
  for (const std::string& name : builtin_hit_cards()) fits.push_back(fit_card(load_card(name), datasets));
  for (const std::string& name : builtin_shower_cards())
    fits.push_back(fit_card(load_shower_card(name), datasets));
  std::ranges::stable_sort(fits, [](const CardFit& a, const CardFit& b) {
    if (a.fits() != b.fits()) return a.fits();
    if (a.matched.size() != b.matched.size()) return a.matched.size() > b.matched.size();
    if (a.present.size() != b.present.size()) return a.present.size() > b.present.size();
    return a.problems.size() < b.problems.size();
  });
  return fits;
}

LayoutFit judge_layout(std::span<const DatasetShape> datasets) {
  LayoutFit layout;
  std::vector<CardFit> fitting, others;
  for (CardFit& fit : fit_builtin_cards(datasets)) (fit.fits() ? fitting : others).push_back(std::move(fit));
  const auto is_larger_than = [](const CardFit& fit) {
    return [&fit](const CardFit& other) { return is_part_of(fit, other); };
  };
  std::ranges::copy_if(fitting, std::back_inserter(layout.fitting), [&](const CardFit& fit) {
    return std::ranges::none_of(fitting, is_larger_than(fit));
  });
  std::ranges::copy_if(others, std::back_inserter(layout.nearest),
                       [](const CardFit& fit) { return !fit.matched.empty() || !fit.present.empty(); });
  if (layout.fitting.size() != 1) return layout;
  std::ranges::copy_if(layout.nearest, std::back_inserter(layout.nearly),
                       is_larger_than(layout.fitting.front()));
  if (layout.nearly.empty()) layout.card = layout.fitting.front();
  return layout;
}

std::optional<std::string> recognise(std::span<const DatasetShape> datasets) {
  const LayoutFit layout = judge_layout(datasets);
  return layout.card ? std::optional(layout.card->card) : std::nullopt;
}

std::string describe(const LayoutFit& layout) {
  if (layout.card) {
    const CardFit& fit = *layout.card;
    const std::string labels = fit.kind != CardKind::jets || !fit.labelled
                                   ? ""
                                   : fmt::format(" ({})", describe_labels(load_card(fit.card)));
    return fmt::format("card {} fits{}{}", fit.card, labels, fit.labelled ? "" : ", without labels");
  }
  std::vector<std::string> choices;
  for (const CardFit& fit : layout.fitting) choices.push_back(choice_text(fit));
  if (layout.fitting.size() > 1)
    return fmt::format("several cards fit; say which is meant: {}", fmt::join(choices, ", or "));
  if (!layout.nearly.empty()) {
    const CardFit& larger = layout.nearly.front();
    return fmt::format(
        "card {} fits, but {} nearly does and uses more of the file ({}); say which is meant: {}, or mend "
        "the file for {}",
        layout.fitting.front().card, larger.card, fmt::join(larger.problems, "; "), choices.front(),
        choice_text(larger));
  }
  if (layout.nearest.empty()) return "no built-in card fits, none is near";
  const CardFit& nearest = layout.nearest.front();
  if (nearest.matched.empty())
    return fmt::format("no built-in card fits; nearest: {}, but {}", nearest.card,
                       fmt::join(nearest.problems, "; "));
  return fmt::format("no built-in card fits; nearest: {} has {}, but {}", nearest.card,
                     fmt::join(nearest.matched, ", "), fmt::join(nearest.problems, "; "));
}

}  // namespace bunchtrain::features
