// SPDX-License-Identifier: Apache-2.0
// A card to begin with: a built-in one, one for a file whose datasets only stand elsewhere, or a draft.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/recognition.hpp"
#include "cards/dataset_shapes.hpp"
#include "cards/place_text.hpp"
#include "cards/toml_text.hpp"
#include "hits/hit_draft.hpp"
#include "jet_draft.hpp"

namespace bunchtrain::features {
namespace {

using detail::is_number;

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

/// The text if it is a card that fits.
std::optional<std::string> if_it_fits(std::string text, std::string_view card, std::string_view file,
                                      std::span<const DatasetShape> datasets) {
  if (!fit_card(parse_card(text, card), datasets).fits()) return std::nullopt;
  return fmt::format("# For {}: the card {} with the names of this file.\n{}", file, card, text);
}

/// Groups of the file, each with a slash at its end.
std::set<std::string> groups_of(std::span<const DatasetShape> datasets) {
  std::set<std::string> groups;
  for (const DatasetShape& dataset : datasets)
    for (std::size_t slash = dataset.name.find('/'); slash != std::string::npos;
         slash = dataset.name.find('/', slash + 1))
      groups.insert(dataset.name.substr(0, slash + 1));
  return groups;
}

/// The top-tagging table under another key, also in pandas' fixed format.
std::optional<std::string> table_of_another_key(std::span<const DatasetShape> datasets,
                                                std::string_view file) {
  const std::string text(builtin_card_text("top_tagging"));
  const auto with = [&](const std::string& particles, const std::string& flags) {
    std::string renamed =
        replace_all(text, "\"table/table:values_block_0[0:800]\"", detail::toml_quote(particles + "[0:800]"));
    return replace_all(std::move(renamed), "\"table/table:values_block_1\"", detail::toml_quote(flags));
  };
  for (const DatasetShape& dataset : datasets) {
    const std::string name = detail::quote_name(dataset.name);
    std::string card = with(name + ":values_block_0", name + ":values_block_1");
    if (dataset.name.ends_with("block0_values"))
      card =
          with(name, detail::quote_name(dataset.name.substr(0, dataset.name.size() - 13) + "block1_values"));
    if (auto fits = if_it_fits(std::move(card), "top_tagging", file, datasets)) return fits;
  }
  return std::nullopt;
}

/// A built-in card whose datasets are all in one group of the file.
std::optional<std::string> card_in_a_group(std::span<const DatasetShape> datasets, std::string_view file) {
  for (const std::string& group : groups_of(datasets))
    for (const std::string& name : builtin_cards()) {
      const std::string quoted = detail::toml_quote(detail::quote_name(group));
      std::string text = replace_all(std::string(builtin_card_text(name)), "from = \"",
                                     "from = " + quoted.substr(0, quoted.size() - 1));
      if (auto fits = if_it_fits(std::move(text), name, file, datasets)) return fits;
    }
  return std::nullopt;
}

bool is_grid(const DatasetShape& dataset) {
  std::size_t axes = dataset.shape.size();
  while (axes > 4 && dataset.shape[axes - 1] == 1) --axes;
  return axes == 4 && is_number(dataset.kind);
}

bool is_energy(const DatasetShape& dataset, std::int64_t rows) {
  const bool one_number = dataset.shape.size() == 1 || (dataset.shape.size() == 2 && dataset.shape[1] == 1);
  return one_number && is_number(dataset.kind) && dataset.shape.front() == rows &&
         (dataset.name.find("nerg") != std::string::npos || dataset.name == "E");
}

/// Images of cells with an energy each. Empty if the file holds none.
std::string draft_showers(std::span<const DatasetShape> datasets, std::string_view file) {
  const auto cells = std::ranges::find_if(datasets, is_grid);
  if (cells == datasets.end()) return {};
  const auto energy = std::ranges::find_if(
      datasets, [&](const DatasetShape& dataset) { return is_energy(dataset, cells->shape.front()); });
  const std::string from = energy == datasets.end() ? "energy" : energy->name;
  return fmt::format(
      "# Draft of a card of showers for {}: look at units, pitch and the energy.\ncard = 1\n\n[shower]\n"
      "cells = [{{ from = {}, shape = [{}, {}, {}] }}]\n# pitch = [5.1, 5.1, 3.95]   # mm between cells\n"
      "unit = \"GeV\"                # of the cells\n# scale = 50                # the file holds that many "
      "times "
      "the energy\n\n[primary]\nenergy = {{ from = [{}], unit = \"GeV\" }}{}\n",
      file, detail::toml_quote(detail::quote_name(cells->name)), cells->shape[1], cells->shape[2],
      cells->shape[3], detail::toml_quote(detail::quote_name(from)),
      energy == datasets.end() ? "   # no dataset looks like it: name it" : "");
}

}  // namespace

std::string draft_card(std::span<const DatasetShape> datasets, std::string_view file) {
  const LayoutFit layout = judge_layout(datasets);
  if (!layout.fitting.empty()) {
    const std::string_view text = builtin_card_text(layout.fitting.front().card);
    return layout.card ? std::string(text) : fmt::format("# {}\n{}", describe(layout), text);
  }
  if (auto card = table_of_another_key(datasets, file)) return *card;
  if (auto card = card_in_a_group(datasets, file)) return *card;
  if (std::string card = detail::draft_hits(datasets, file); !card.empty()) return card;
  if (std::string card = detail::draft_jets(datasets, file); !card.empty()) return card;
  if (std::string card = draft_showers(datasets, file); !card.empty()) return card;
  if (std::string card = detail::draft_flat_hits(datasets, file); !card.empty()) return card;
  throw DataError(fmt::format(
      "{}: holds neither particles (numbers [jets, particles, columns] or [jets, particles], a compound "
      "[jets, particles], long rows of numbers) nor hits (with row splits or event numbers) nor showers "
      "[showers, x, y, z]; write a card by hand: docs/cards.md",
      file));
}

}  // namespace bunchtrain::features
