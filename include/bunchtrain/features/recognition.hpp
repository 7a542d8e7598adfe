// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which card fits a file, judged by the names and shapes of its datasets; a first draft of a card where none
/// does.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/features/card.hpp"
#include "bunchtrain/features/shower_card.hpp"

namespace bunchtrain::features {

enum class ElementKind { real, integer, boolean, compound, other };

/// A member of a compound dataset.
struct MemberShape {
  std::string name;
  ElementKind kind = ElementKind::other;
  std::int64_t values = 1;  ///< numbers per element: 804 for f4[804]
};

/// A dataset as a file lists it.
struct DatasetShape {
  std::string name;  ///< path within the file, without a leading slash
  ElementKind kind = ElementKind::other;
  std::vector<std::int64_t> shape;        ///< [jets, ...]
  std::vector<MemberShape> members = {};  ///< of a compound
};

/// How a card fits the datasets of a file.
struct CardFit {
  std::string card;
  std::vector<std::string> matched;  ///< datasets that are as the card says
  std::vector<std::string>
      problems;  ///< "jet_label is missing", "X has shape [100, 4], the card reads 4 columns per particle"
  bool labelled = true;  ///< false: everything but the label is there
  bool showers = false;  ///< a card of showers, not of jets

  bool fits() const noexcept { return problems.empty(); }
};

/// Judges one card. Datasets that only serve label, weights and the split may be missing (labelled = false).
CardFit fit_card(const Card& card, std::span<const DatasetShape> datasets);

/// The same of showers. Angles may be missing: they are measured.
CardFit fit_card(const ShowerCard& card, std::span<const DatasetShape> datasets);

/// Judges all built-in cards of jets and showers, the best first: those that fit, of these the ones that use
/// more datasets, then the nearest.
std::vector<CardFit> fit_builtin_cards(std::span<const DatasetShape> datasets);

/// The built-in card that alone fits; a card whose datasets another fitting card uses too, with more besides,
/// does not count.
std::optional<std::string> recognise(std::span<const DatasetShape> datasets);

/// For messages: what the nearest built-in card misses. Empty if no card shares a dataset.
std::string describe_nearest(std::span<const DatasetShape> datasets);

/// TOML text to begin with: the built-in card that fits, or a card that reads every dataset of the common
/// number of rows, takes all particle columns as "auto" inputs and leaves labels as a comment to fill in.
/// Parses. @throws DataError for a file without particles ([jets, particles, columns], or a compound [jets,
/// particles]).
std::string draft_card(std::span<const DatasetShape> datasets, std::string_view name);

}  // namespace bunchtrain::features
