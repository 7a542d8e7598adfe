// SPDX-License-Identifier: Apache-2.0
#include "card_recognition.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/wording.hpp"
#include "bunchtrain/features/recognition.hpp"
#include "storage/contents_of.hpp"

namespace bunchtrain::data {

std::string recognise_card(const hdf5::File& file, const std::string& path) {
  const auto contents = contents_of(file, path);
  const auto layout = features::judge_layout(shapes_of(contents));
  if (layout.card) return layout.card->card;
  if (!layout.fitting.empty()) throw DataError(fmt::format("{}: {}", path, features::describe(layout)));
  throw DataError(fmt::format("{}: {}; datasets present: {}. Draft a card: {}", path,
                              features::describe(layout), list_contents(contents),
                              way_to(Advice::draft_card, path)));
}

std::string suggest_card(const hdf5::File& file, const std::string& path, const std::string& card) {
  const auto known = features::recognise(shapes_of(contents_of(file, path)));
  if (!known || *known == card) return {};
  const features::CardKind kind = features::kind_of_card(*known);
  return fmt::format(" It looks like card '{}' ({}), of {}s.", *known, setting("card", *known),
                     kind == features::CardKind::hits ? "hit" : features::sample_word(kind));
}

}  // namespace bunchtrain::data
