// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which card fits a file, judged by the names and shapes of its datasets; a first draft
/// of a card where none does.

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
  std::int64_t values = 1;              ///< numbers per element: 804 for f4[804]
  std::vector<std::int64_t> seen = {};  ///< its different values in a sample, if they are few whole numbers
};

/// A dataset as a file lists it.
struct DatasetShape {
  std::string name;  ///< path within the file, without a leading slash
  ElementKind kind = ElementKind::other;
  std::vector<std::int64_t> shape;        ///< [jets, ...]
  std::vector<MemberShape> members = {};  ///< of a compound
  std::vector<std::int64_t> seen = {};    ///< as in MemberShape
};

/// How a card fits the datasets of a file.
struct CardFit {
  std::string card;
  std::vector<std::string> matched;       ///< datasets that are as the card says
  std::vector<std::string> present = {};  ///< others that are there by name
  std::vector<std::string>
      problems;  ///< "jet_label is missing", "X has shape [100, 4], the card reads 4 columns per particle"
  bool labelled = true;  ///< false: everything but the label is there
  CardKind kind = CardKind::jets;

  bool fits() const noexcept { return problems.empty(); }
};

/// Judges one card. Datasets that only serve label, weights and the split may be missing (labelled = false).
CardFit fit_card(const Card& card, std::span<const DatasetShape> datasets);

/// The same of showers. Angles may be missing: they are measured.
CardFit fit_card(const ShowerCard& card, std::span<const DatasetShape> datasets);

/// Judges all built-in cards of jets and showers, the best first: those that fit, of these the ones that use
/// more datasets, then the nearest.
std::vector<CardFit> fit_builtin_cards(std::span<const DatasetShape> datasets);

/// What the built-in cards have to do with a file.
struct LayoutFit {
  /// The one to take: it alone fits, and no larger one nearly does. A card whose datasets another fitting
  /// card uses too, with more besides, does not count.
  std::optional<CardFit> card;
  std::vector<CardFit> fitting;  ///< those that could be taken
  /// Cards that use all datasets of the one that fits and more of the file, but miss something: names alone
  /// cannot tell what the file is.
  std::vector<CardFit> nearly;
  std::vector<CardFit> nearest;  ///< cards that share a dataset with the file and do not fit, the best first
};

LayoutFit judge_layout(std::span<const DatasetShape> datasets);

/// The card to take.
std::optional<std::string> recognise(std::span<const DatasetShape> datasets);

/// For messages: which card fits, which compete and how to choose, or "no built-in card fits; nearest: jetnet
/// lacks jet_features, has particle_features".
std::string describe(const LayoutFit& layout);

/// TOML text to begin with, which parses: the built-in card that fits, or one with the names of this file (a
/// table of another key, datasets in a group), or a draft that reads every dataset of the common number of
/// rows, takes all particle columns as inputs and, where `seen` tells them, labels as classes; or a draft of
/// a card of showers. @param file what messages and comments call the file. @throws DataError for a file with
/// neither particles nor showers.
std::string draft_card(std::span<const DatasetShape> datasets, std::string_view file);

}  // namespace bunchtrain::features
