// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/shower_card.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "cards/builtin_cards.hpp"
#include "cards/place_text.hpp"
#include "expressions/units.hpp"

namespace bunchtrain::features {
namespace {

// A shower of more cells is a mistake in the card: 64 MiB as float32, 400 times CaloChallenge's largest.
constexpr std::int64_t kMostCells = std::int64_t{1} << 24;

void require(bool condition, std::string_view field, double value, std::string_view allowed) {
  if (!condition) throw ConfigError(field, fmt::format("{}", value), allowed);
}

bool is_positive(double value) { return std::isfinite(value) && value > 0; }

void validate_cells(const ShowerCard& card) {
  if (card.cells.empty()) throw ConfigError("shower.cells", "[]", "at least one dataset of cells");
  std::int64_t cells = 0;
  for (const CellBlock& block : card.cells) {
    if (block.dataset.empty()) throw ConfigError("shower.cells", "", "the name of a dataset in \"from\"");
    std::int64_t in_block = 1;
    for (const std::int64_t extent : block.shape) {
      if (extent < 1 || extent > kMostCells / in_block)
        throw ConfigError("shower.cells", fmt::format("[{}]", fmt::join(block.shape, ", ")),
                          fmt::format("extents of at least 1, {} cells at most", kMostCells));
      in_block *= extent;
    }
    cells += in_block;
  }
  require(cells <= kMostCells, "shower.cells", static_cast<double>(cells),
          fmt::format("{} cells at most", kMostCells));
}

void validate_column(const ShowerColumn& column, const std::string& field) {
  for (const std::string& place : column.from) place_of(place);
  if (!column.from.empty() && !detail::unit_factor(column.unit))
    throw ConfigError(field + ".unit", column.unit, fmt::format("{}", fmt::join(detail::known_units(), " ")));
}

}  // namespace

std::int64_t ShowerCard::num_cells() const noexcept {
  std::int64_t count = 0;
  for (const CellBlock& block : cells) count += block.shape[0] * block.shape[1] * block.shape[2];
  return count;
}

ColumnPlace place_of(std::string_view text) {
  const detail::PlaceText parts = detail::split_place(text);
  ColumnPlace place{.dataset = parts.dataset};
  const auto refuse = [&] {
    throw ConfigError(
        "from", text,
        "a dataset and perhaps one of its columns: \"energy\", \"target[1]\"; a name that holds : "
        "or [ stands in quotes: \"'target[1]'\"");
  };
  if (parts.group || !parts.member.empty()) refuse();
  if (!parts.brackets) return place;
  const char* end = parts.brackets->data() + parts.brackets->size();
  const auto [stop, error] = std::from_chars(parts.brackets->data(), end, place.column);
  if (error != std::errc() || stop != end || place.column < 0) refuse();
  return place;
}

void validate(const ShowerCard& card) {
  validate_cells(card);
  for (const double pitch : card.pitch) require(is_positive(pitch), "shower.pitch", pitch, "above 0 mm");
  if (!detail::unit_factor(card.unit))
    throw ConfigError("shower.unit", card.unit, fmt::format("{}", fmt::join(detail::known_units(), " ")));
  require(is_positive(card.scale), "shower.scale", card.scale, "above 0");
  require(std::isfinite(card.threshold) && card.threshold >= 0, "shower.threshold", card.threshold,
          "at least 0 GeV");
  require(std::isfinite(card.minimum_sum) && card.minimum_sum >= 0, "shower.minimum_sum", card.minimum_sum,
          "at least 0 GeV");
  if (!(card.ratio[0] >= 0 && card.ratio[0] < card.ratio[1]))
    throw ConfigError("shower.ratio", fmt::format("[{}]", fmt::join(card.ratio, ", ")),
                      "two numbers that rise, not negative");
  if (card.energy.from.empty()) throw ConfigError("primary.energy", "", "a dataset: it is required");
  validate_column(card.energy, "primary.energy");
  validate_column(card.theta, "primary.theta");
  validate_column(card.measured_theta, "primary.measured_theta");
  if (card.has_angle() && card.cells.size() != 1)
    throw ConfigError("primary.theta", "",
                      "a card with one dataset of cells: only there an angle has a meaning");
  require(is_positive(card.image_scale), "image.scale", card.image_scale, "above 0");
  require(is_positive(card.image_power), "image.power", card.image_power, "above 0");
  require(card.valid_fraction >= 0 && card.valid_fraction < 1, "split.fractions.valid", card.valid_fraction,
          "at least 0 and below 1");
}

ShowerCard load_shower_card(std::string_view name_or_path) {
  return parse_shower_card(detail::card_text(name_or_path, builtin_shower_cards()), name_or_path);
}

bool names_shower_card(std::string_view name_or_path) {
  return is_shower_card(detail::card_text(name_or_path, builtin_shower_cards()));
}

std::vector<std::string> builtin_shower_cards() {
  std::vector<std::string> names;
  for (const detail::BuiltinCard& card : detail::builtin_card_list())
    if (card.kind == CardKind::showers) names.emplace_back(card.name);
  return names;
}

}  // namespace bunchtrain::features
