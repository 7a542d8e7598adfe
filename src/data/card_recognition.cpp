// SPDX-License-Identifier: Apache-2.0
#include "card_recognition.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/recognition.hpp"
#include "contents_of.hpp"

namespace bunchtrain::data {

std::string recognise_card(const hdf5::File& file, const std::string& path) {
  const auto contents = contents_of(file, path);
  const auto shapes = shapes_of(contents);
  if (const auto card = features::recognise(shapes)) return *card;
  std::vector<std::string> fitting;
  for (const auto& fit : features::fit_builtin_cards(shapes))
    if (fit.fits()) fitting.push_back(fit.card);
  if (fitting.size() > 1)
    throw DataError(
        fmt::format("{}: the cards {} all fit; choose one with --card", path, fmt::join(fitting, ", ")));
  const std::string nearest = features::describe_nearest(shapes);
  throw DataError(
      fmt::format("{}: no built-in card fits ({}); datasets present: {}. Write a card: bunchtrain inspect {} "
                  "--write-card card.toml",
                  path, nearest.empty() ? "none is near" : nearest, list_contents(contents), path));
}

std::string suggest_card(const hdf5::File& file, const std::string& path) {
  const auto card = features::recognise(shapes_of(contents_of(file, path)));
  if (!card) return {};
  const bool showers = features::names_shower_card(*card);
  return fmt::format(" It looks like card '{0}' (--card {0}), which {1} reads.", *card,
                     showers ? "train_3dgan" : "train_particlenet");
}

}  // namespace bunchtrain::data
