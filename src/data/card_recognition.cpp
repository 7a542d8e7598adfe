// SPDX-License-Identifier: Apache-2.0
#include "card_recognition.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"
#include "card_columns.hpp"
#include "stored_dataset.hpp"

namespace bunchtrain::data {
namespace {

using Layouts = std::map<std::string, DatasetLayout>;

Layouts describe_all(const hdf5::File& file) {
  Layouts layouts;
  const hdf5::LibraryLock lock;
  for (const auto& name : list_datasets(file)) {
    const hdf5::Dataset dataset(hdf5::check(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT), name));
    layouts.emplace(name, describe_dataset(dataset.get(), name, name));
  }
  return layouts;
}

bool fits(const features::ReadSource& source, const DatasetLayout& layout) {
  try {
    for (const auto& column : source.columns)
      if (!find_column(source, column, layout, layout.name)) return false;
    return true;
  } catch (const DataError&) {
    return false;  // another rank or type: not this card
  }
}

struct Candidate {
  std::string card;
  std::set<std::string> datasets;
  std::vector<std::string> misses;
};

std::vector<Candidate> judge_cards(const Layouts& layouts) {
  std::vector<Candidate> candidates;
  for (const auto& name : features::builtin_cards()) {
    Candidate candidate{.card = name, .datasets = {}, .misses = {}};
    for (const auto& source : features::load_card(name).sources) {
      const auto found = layouts.find(source.dataset);
      if (found != layouts.end() && fits(source, found->second)) {
        candidate.datasets.insert(source.dataset);
      } else {
        candidate.misses.push_back(source.dataset);
      }
    }
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

// Those that fit, without the ones whose datasets another one that fits reads too, and more.
std::vector<Candidate> best_fits(const std::vector<Candidate>& candidates) {
  std::vector<Candidate> fitting;
  for (const auto& candidate : candidates)
    if (candidate.misses.empty()) fitting.push_back(candidate);
  const auto is_part_of_another = [&](const Candidate& one) {
    return std::any_of(fitting.begin(), fitting.end(), [&](const Candidate& other) {
      return other.datasets.size() > one.datasets.size() &&
             std::includes(other.datasets.begin(), other.datasets.end(), one.datasets.begin(),
                           one.datasets.end());
    });
  };
  std::vector<Candidate> best;
  std::copy_if(fitting.begin(), fitting.end(), std::back_inserter(best),
               [&](const auto& c) { return !is_part_of_another(c); });
  return best;
}

std::string nearest(const std::vector<Candidate>& candidates) {
  const auto best =
      std::max_element(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
        return std::pair(a.datasets.size(), b.misses.size()) < std::pair(b.datasets.size(), a.misses.size());
      });
  if (best == candidates.end() || best->datasets.empty()) return "none is near";
  return fmt::format("nearest is '{}', which misses '{}' or finds it in another shape", best->card,
                     fmt::join(best->misses, "', '"));
}

std::vector<std::string> describe(const Layouts& layouts) {
  std::vector<std::string> lines;
  for (const auto& [name, layout] : layouts) lines.push_back(fmt::format("{} {}", name, to_string(layout)));
  return lines;
}

}  // namespace

std::string recognise_card(const hdf5::File& file, const std::string& path) {
  const auto layouts = describe_all(file);
  const auto candidates = judge_cards(layouts);
  const auto best = best_fits(candidates);
  if (best.size() == 1) return best.front().card;
  if (best.empty())
    throw DataError(
        fmt::format("{}: no built-in card fits ({}); datasets present: {}. Write a card: bunchtrain inspect "
                    "{} --write-card",
                    path, nearest(candidates),
                    layouts.empty() ? "none" : fmt::format("{}", fmt::join(describe(layouts), "; ")), path));
  std::vector<std::string> names;
  for (const auto& candidate : best) names.push_back(candidate.card);
  throw DataError(
      fmt::format("{}: the cards {} all fit; choose one with --card", path, fmt::join(names, ", ")));
}

std::string suggest_card(const hdf5::File& file) {
  const auto best = best_fits(judge_cards(describe_all(file)));
  return best.size() == 1 ? fmt::format(" It looks like card '{0}' (--card {0}).", best.front().card)
                          : std::string();
}

}  // namespace bunchtrain::data
