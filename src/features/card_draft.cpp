// SPDX-License-Identifier: Apache-2.0
// The draft of a card for a file that no built-in card fits.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/recognition.hpp"
#include "detail/dataset_shapes.hpp"
#include "detail/expression_parser.hpp"

namespace bunchtrain::features {
namespace {

using detail::is_number;

/// A name that expressions can use, from the last part of a dataset's path.
std::string usable_name(std::string_view path) {
  std::string name(path.substr(path.rfind('/') == std::string_view::npos ? 0 : path.rfind('/') + 1));
  for (char& c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!good) c = '_';
  }
  return detail::is_name(name) ? name : "c" + name;
}

/// Collects what the file offers, with names that do not collide.
class Draft {
 public:
  explicit Draft(std::span<const DatasetShape> datasets) : rows_(common_rows(datasets)) {
    for (const DatasetShape& dataset : datasets) add(dataset);
  }

  std::string text(std::string_view name) const;

 private:
  static std::int64_t common_rows(std::span<const DatasetShape> datasets);
  void add(const DatasetShape& dataset);
  void add_compound(const DatasetShape& dataset);
  void add_source(const DatasetShape& dataset, const std::vector<std::string>& columns, bool per_particle,
                  bool with_columns);
  std::vector<std::string> numbered(const DatasetShape& dataset, std::int64_t count, bool per_particle);
  std::string unique(std::string name, bool per_particle);
  std::string mask() const;

  std::int64_t rows_;
  std::int64_t slots_ = 0;
  std::string sources_, left_out_;
  std::vector<std::string> particle_columns_, label_candidates_;
  std::set<std::string> taken_;
};

/// The number of rows that most datasets have.
std::int64_t Draft::common_rows(std::span<const DatasetShape> datasets) {
  std::map<std::int64_t, int> counts;
  for (const DatasetShape& dataset : datasets) {
    if (!dataset.shape.empty()) ++counts[dataset.shape.front()];
  }
  const auto most = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return most == counts.end() ? 0 : most->first;
}

std::string Draft::unique(std::string name, bool per_particle) {
  while (!taken_.insert((per_particle ? "part." : "jet.") + name).second) name += "_";
  return name;
}

std::vector<std::string> Draft::numbered(const DatasetShape& dataset, std::int64_t count, bool per_particle) {
  std::vector<std::string> names;
  const std::string base = usable_name(dataset.name);
  for (std::int64_t i = 0; i < count; ++i) {
    names.push_back(unique(count == 1 ? base : fmt::format("{}_{}", base, i), per_particle));
  }
  return names;
}

void Draft::add_source(const DatasetShape& dataset, const std::vector<std::string>& columns,
                       bool per_particle, bool with_columns) {
  sources_ += fmt::format("\n[[read.{}]]\nfrom = \"{}\"\n", per_particle ? "part" : "jet", dataset.name);
  if (with_columns) sources_ += fmt::format("columns = [\"{}\"]\n", fmt::join(columns, "\", \""));
  sources_ += "# unit = { pt = \"MeV\" }                # what is not in GeV, mm, rad\n";
  if (!per_particle) return;
  slots_ = dataset.shape[1];
  particle_columns_.insert(particle_columns_.end(), columns.begin(), columns.end());
}

void Draft::add_compound(const DatasetShape& dataset) {
  const bool per_particle = dataset.shape.size() == 2;
  std::vector<std::string> columns;
  for (const MemberShape& member : dataset.members) {
    if (!is_number(member.kind) || member.values != 1 || !detail::is_name(member.name)) continue;
    columns.push_back(member.name);
    taken_.insert((per_particle ? "part." : "jet.") + member.name);
    if (!per_particle && member.kind == ElementKind::integer)
      label_candidates_.push_back("jet." + member.name);
  }
  if (!columns.empty()) add_source(dataset, columns, per_particle, true);
}

void Draft::add(const DatasetShape& dataset) {
  constexpr std::int64_t kMostColumns = 64;
  const std::size_t rank = dataset.shape.size();
  const bool usable = rank >= 1 && rank <= 3 && dataset.shape.front() == rows_;
  const bool new_slots = rank < 2 || slots_ == 0 || dataset.shape[1] == slots_;
  if (usable && dataset.kind == ElementKind::compound && rank <= 2 && new_slots) return add_compound(dataset);
  const std::int64_t columns = rank == 1 ? 1 : dataset.shape.empty() ? 0 : dataset.shape.back();
  const bool per_particle = rank == 3;
  if (!usable || !is_number(dataset.kind) || columns < 1 || columns > kMostColumns ||
      (per_particle && !new_slots)) {
    left_out_ += fmt::format("# left out: {} [{}]\n", dataset.name, fmt::join(dataset.shape, ", "));
    return;
  }
  const std::vector<std::string> names = numbered(dataset, columns, per_particle);
  add_source(dataset, names, per_particle, true);
  if (!per_particle && columns == 1 && dataset.kind != ElementKind::real)
    label_candidates_.push_back("jet." + names[0]);
}

std::string Draft::mask() const {
  for (const std::string& column : particle_columns_) {
    if (column == "mask" || column == "valid") return fmt::format("part.{} > 0", column);
  }
  return fmt::format("part.{} != 0", particle_columns_.front());
}

std::string Draft::text(std::string_view name) const {
  if (particle_columns_.empty()) {
    throw DataError(fmt::format(
        "{}: holds no particles, neither numbers [jets, particles, columns] nor a compound [jets, particles]",
        name));
  }
  std::string card =
      fmt::format("# Draft of a card for {}: name the columns, choose inputs and labels.\ncard = 1\n", name);
  card += left_out_ + sources_;
  card +=
      fmt::format("\n[particles]\nmask = \"{}\"                  # true for real particles\nlength = {}\n",
                  mask(), slots_);
  card +=
      "\n[inputs]\n# points = [\"part.deta\", \"part.dphi\"]    # what distances between particles are "
      "measured in\nfeatures = [\n";
  for (const std::string& column : particle_columns_)
    card += fmt::format("  [\"part.{}\", \"auto\"],\n", column);
  card += "]\n\n";
  const std::string label = label_candidates_.empty() ? "jet.label" : label_candidates_.front();
  card += fmt::format(
      "# [label]\n# of = \"{}\"\n# classes = [[\"background\", 0], [\"signal\", 1]]\n# signal = \"signal\"\n",
      label);
  return card;
}

}  // namespace

std::string draft_card(std::span<const DatasetShape> datasets, std::string_view name) {
  if (const auto known = recognise(datasets)) return std::string(builtin_card_text(*known));
  return Draft(datasets).text(name);
}

}  // namespace bunchtrain::features
