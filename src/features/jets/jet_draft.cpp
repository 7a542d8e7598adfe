// SPDX-License-Identifier: Apache-2.0
#include "jet_draft.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <vector>

#include "bunchtrain/core/wording.hpp"
#include "cards/dataset_shapes.hpp"
#include "cards/place_text.hpp"
#include "cards/toml_text.hpp"
#include "expressions/expression_parser.hpp"

namespace bunchtrain::features::detail {
namespace {

constexpr std::size_t kMostClasses = 10;
constexpr std::int64_t kMostColumns = 64;  ///< of a jet; more are particles or images
constexpr std::int64_t kFewestInRow = 16;  ///< numbers of a flat row that may be particles
constexpr std::int64_t kFolded = 4;        ///< numbers per particle of a flat row: a guess

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string base_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// A name that expressions can use without quotes.
std::string usable_name(const std::string& path) {
  std::string name = base_of(path);
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return is_name(name) ? name : "c" + name;
}

/// The number of rows that most datasets have.
std::int64_t common_rows(std::span<const DatasetShape> datasets) {
  std::map<std::int64_t, int> counts;
  for (const DatasetShape& dataset : datasets)
    if (!dataset.shape.empty()) ++counts[dataset.shape.front()];
  const auto most = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  return most == counts.end() ? 0 : most->first;
}

struct Column {
  std::string name;  ///< without prefix
  ElementKind kind = ElementKind::real;
  std::vector<std::int64_t> seen = {};
  std::string place = {};  ///< of a label candidate: where it stands, for judging its name
};

/// Collects what the file offers, with names that do not collide.
class Draft {
 public:
  explicit Draft(std::span<const DatasetShape> datasets) : rows_(common_rows(datasets)) {
    for (const DatasetShape& dataset : datasets)
      if (!dataset.shape.empty() && dataset.shape.size() <= 3 && dataset.shape.front() == rows_)
        usable_.push_back(&dataset);
      else
        leave_out(dataset);
    choose_particles();
    for (const DatasetShape* dataset : usable_) add(*dataset);
  }

  std::string text(std::string_view file) const;

 private:
  void choose_particles();
  bool is_group_of_columns(const DatasetShape& dataset) const;
  bool holds_particles(const DatasetShape& dataset) const;
  void add(const DatasetShape& dataset);
  void add_compound(const DatasetShape& dataset);
  void add_group(const DatasetShape& first);
  void add_numbers(const DatasetShape& dataset);
  void add_folded(const DatasetShape& dataset, const std::string& place, std::int64_t values);
  void add_source(const std::string& from, const std::vector<Column>& columns, bool per_particle,
                  std::string_view comment = "");
  void leave_out(const DatasetShape& dataset);
  std::string unique(std::string name, bool per_particle);
  bool take(const std::string& name, bool per_particle) {
    return taken_.insert((per_particle ? "part." : "jet.") + name).second;
  }
  std::vector<Column> numbered(const std::string& base, std::int64_t count, bool per_particle,
                               const DatasetShape& dataset);

  const Column* find_particle(std::initializer_list<std::string_view> names) const;
  const Column* mask_column() const;
  std::string particles_text() const;
  std::string inputs_text() const;
  std::string label_text() const;

  std::int64_t rows_;
  std::int64_t slots_ = 0;
  enum class Particles { none, compound, array, group, flat } particles_ = Particles::none;
  std::string particle_place_;  ///< the dataset or the group
  std::vector<const DatasetShape*> usable_;
  std::set<std::string> groups_done_;
  std::string sources_, left_out_;
  std::vector<Column> particle_columns_, jet_columns_;
  std::set<std::string> taken_;
};

/// What the particles are: a compound [jets, particles], else [jets, particles, columns], else several
/// [jets, particles] of one group, else a flat row.
void Draft::choose_particles() {
  const auto choose = [&](Particles kind, const std::string& place, std::int64_t slots) {
    particles_ = kind;
    particle_place_ = place;
    slots_ = slots;
  };
  const auto is_named_after_particles = [](const DatasetShape* dataset) {
    const std::string name = lower(dataset->name);
    return std::ranges::any_of(std::array{"track", "part", "const", "cand"},
                               [&](const char* word) { return name.find(word) != std::string::npos; });
  };
  std::vector<const DatasetShape*> compounds, arrays;
  for (const DatasetShape* dataset : usable_) {
    if (dataset->kind == ElementKind::compound && dataset->shape.size() == 2) compounds.push_back(dataset);
    if (is_number(dataset->kind) && dataset->shape.size() == 3 && dataset->shape[2] <= kMostColumns)
      arrays.push_back(dataset);
  }
  for (auto* found : {&compounds, &arrays}) {
    if (found->empty()) continue;
    const auto named = std::ranges::find_if(*found, is_named_after_particles);
    const DatasetShape* taken = named == found->end() ? found->front() : *named;
    return choose(found == &compounds ? Particles::compound : Particles::array, taken->name, taken->shape[1]);
  }
  for (const DatasetShape* dataset : usable_)
    if (is_group_of_columns(*dataset))
      return choose(Particles::group, parent_of(dataset->name), dataset->shape[1]);
  for (const DatasetShape* dataset : usable_) {
    const bool flat = is_number(dataset->kind) && dataset->shape.size() == 2;
    if (flat && dataset->shape[1] >= kFewestInRow && dataset->shape[1] % kFolded == 0)
      return choose(Particles::flat, dataset->name, dataset->shape[1] / kFolded);
    if (dataset->kind != ElementKind::compound || dataset->shape.size() != 1) continue;
    for (const MemberShape& member : dataset->members)
      if (is_number(member.kind) && member.values >= kFewestInRow && member.values % kFolded == 0)
        return choose(Particles::flat, dataset->name, member.values / kFolded);
  }
}

/// [jets, particles] beside others of that shape, or a mask.
bool Draft::is_group_of_columns(const DatasetShape& dataset) const {
  if (!is_number(dataset.kind) || dataset.shape.size() != 2 || dataset.shape[1] < 2) return false;
  const std::string group = parent_of(dataset.name);
  const auto alike = std::ranges::count_if(usable_, [&](const DatasetShape* other) {
    return parent_of(other->name) == group && other->shape == dataset.shape && is_number(other->kind);
  });
  const bool has_mask = std::ranges::any_of(usable_, [&](const DatasetShape* other) {
    const std::string name = lower(base_of(other->name));
    return parent_of(other->name) == group && other->shape == dataset.shape &&
           (name == "mask" || name == "valid");
  });
  return has_mask || (alike >= 3 && !group.empty());
}

bool Draft::holds_particles(const DatasetShape& dataset) const {
  return dataset.shape.size() >= 2 && dataset.shape[1] == slots_ &&
         (particles_ != Particles::flat || dataset.shape.size() == 3);
}

void Draft::leave_out(const DatasetShape& dataset) {
  left_out_ += fmt::format("# left out: {} [{}]\n", dataset.name, fmt::join(dataset.shape, ", "));
}

std::string Draft::unique(std::string name, bool per_particle) {
  while (!take(name, per_particle)) name += "_";
  return name;
}

std::vector<Column> Draft::numbered(const std::string& base, std::int64_t count, bool per_particle,
                                    const DatasetShape& dataset) {
  std::vector<Column> columns;
  for (std::int64_t i = 0; i < count; ++i)
    columns.push_back({.name = unique(count == 1 ? base : fmt::format("{}_{}", base, i), per_particle),
                       .kind = dataset.kind,
                       .seen = count == 1 ? dataset.seen : std::vector<std::int64_t>{},
                       .place = dataset.name});
  return columns;
}

void Draft::add_source(const std::string& from, const std::vector<Column>& columns, bool per_particle,
                       std::string_view comment) {
  std::vector<std::string> names;
  for (const Column& column : columns) names.push_back(column.name);
  sources_ += fmt::format("\n[[read.{}]]\nfrom = {}{}\ncolumns = {}\n", per_particle ? "part" : "jet",
                          toml_quote(from), comment, toml_list(names));
  auto& all = per_particle ? particle_columns_ : jet_columns_;
  all.insert(all.end(), columns.begin(), columns.end());
}

void Draft::add(const DatasetShape& dataset) {
  if (dataset.kind == ElementKind::compound) return add_compound(dataset);
  if (!is_number(dataset.kind)) return leave_out(dataset);
  const std::string group = parent_of(dataset.name);
  const bool in_group = !group.empty() && std::ranges::count_if(usable_, [&](const DatasetShape* other) {
                                            return parent_of(other->name) == group &&
                                                   is_number(other->kind) && other->shape == dataset.shape;
                                          }) > 1;
  const bool one_column =
      dataset.shape.size() == 1 || (dataset.shape.size() == 2 && holds_particles(dataset));
  if (one_column && in_group) return add_group(dataset);
  add_numbers(dataset);
}

/// All datasets of a group that have the same shape, by their own names.
void Draft::add_group(const DatasetShape& first) {
  const std::string group = parent_of(first.name);
  const bool per_particle = first.shape.size() == 2;
  if (!groups_done_.insert(fmt::format("{} {}", group, first.shape.size())).second) return;
  std::vector<Column> columns;
  for (const DatasetShape* dataset : usable_) {
    if (parent_of(dataset->name) != group || dataset->shape != first.shape || !is_number(dataset->kind))
      continue;
    const std::string name = base_of(dataset->name);
    if (take(name, per_particle))
      columns.push_back({.name = name, .kind = dataset->kind, .seen = dataset->seen, .place = dataset->name});
    else
      add_numbers(*dataset);
  }
  if (!columns.empty()) add_source(quote_name(group) + "/*", columns, per_particle);
}

void Draft::add_compound(const DatasetShape& dataset) {
  const bool per_particle = dataset.shape.size() == 2;
  if (dataset.shape.size() > 2 || (per_particle && !holds_particles(dataset))) return leave_out(dataset);
  std::vector<Column> columns;
  for (const MemberShape& member : dataset.members) {
    if (!is_number(member.kind)) continue;
    if (member.values == 1 && take(member.name, per_particle)) {
      columns.push_back(
          {.name = member.name, .kind = member.kind, .seen = member.seen, .place = member.name});
    } else if (member.values > 1 && !per_particle) {
      const std::string place = quote_name(dataset.name) + ":" + quote_name(member.name);
      const DatasetShape values{.name = member.name, .kind = member.kind, .shape = {rows_, member.values}};
      const bool folded = particles_ == Particles::flat && dataset.name == particle_place_ &&
                          member.values / kFolded == slots_ && particle_columns_.empty();
      if (folded)
        add_folded(values, place, member.values);
      else if (member.values <= kMostColumns)
        add_source(place, numbered(usable_name(member.name), member.values, false, values), false);
    }
  }
  if (!columns.empty()) add_source(quote_name(dataset.name), columns, per_particle);
}

void Draft::add_folded(const DatasetShape& dataset, const std::string& place, std::int64_t values) {
  add_source(fmt::format("{}[0:{}]", place, values),
             numbered(usable_name(dataset.name), kFolded, true, dataset), true,
             "   # four numbers per particle are a guess");
}

void Draft::add_numbers(const DatasetShape& dataset) {
  const bool is_flat = particles_ == Particles::flat && dataset.name == particle_place_;
  if (is_flat) return add_folded(dataset, quote_name(dataset.name), dataset.shape[1]);
  const bool per_particle =
      holds_particles(dataset) &&
      (dataset.shape.size() == 3 || particles_ == Particles::group || dataset.shape[1] > kFewestInRow);
  const std::int64_t columns = dataset.shape.size() == (per_particle ? 2 : 1) ? 1 : dataset.shape.back();
  if (columns < 1 || columns > kMostColumns || (dataset.shape.size() == 3 && !per_particle))
    return leave_out(dataset);
  add_source(quote_name(dataset.name), numbered(usable_name(dataset.name), columns, per_particle, dataset),
             per_particle);
}

const Column* Draft::find_particle(std::initializer_list<std::string_view> names) const {
  for (const std::string_view name : names)
    for (const Column& column : particle_columns_)
      if (lower(column.name) == name) return &column;
  return nullptr;
}

const Column* Draft::mask_column() const { return find_particle({"mask", "valid", "is_valid", "isvalid"}); }

std::string particle_name(const Column& column) { return "part." + quote_column(column.name); }

std::string Draft::particles_text() const {
  const Column* size = find_particle({"pt", "e", "energy", "ptrel", "pt_rel"});
  const Column* mask = mask_column();
  // Comparisons of NaN are false: padding of NaN is no particle.
  const std::string expression = mask ? particle_name(*mask) + " > 0"
                                 : size
                                     ? particle_name(*size) + " > 0"
                                     : fmt::format("abs({}) > 0", particle_name(particle_columns_.front()));
  return fmt::format(
      "\n[particles]\nmask = {}     # true for real particles\nlength = {}\n# nan = 0.0            # what "
      "replaces NaN in "
      "real particles\n",
      toml_quote(expression), slots_);
}

std::string Draft::inputs_text() const {
  constexpr std::array kPairs = {std::pair{"deta", "dphi"}, std::pair{"etarel", "phirel"},
                                 std::pair{"eta_rel", "phi_rel"}, std::pair{"eta", "phi"}};
  const Column *first = &particle_columns_.front(), *second = &particle_columns_.back();
  std::string_view remark = "   # a guess: what distances between particles are measured in";
  for (const auto& [eta, phi] : kPairs) {
    if (!find_particle({eta}) || !find_particle({phi})) continue;
    first = find_particle({eta});
    second = find_particle({phi});
    remark = "   # what distances between particles are measured in";
    break;
  }
  std::string text = fmt::format("\n[inputs]\npoints = {}{}\nfeatures = [\n",
                                 toml_list({particle_name(*first), particle_name(*second)}), remark);
  for (const Column& column : particle_columns_) {
    if (&column == mask_column() && particle_columns_.size() > 1) continue;
    const std::string name = toml_quote(particle_name(column));
    text += column.kind == ElementKind::real ? fmt::format("  [{}, \"auto\"],\n", name)
                                             : fmt::format("  {},\n", name);
  }
  return text + "]\n";
}

/// How much a name promises a label; 0 = none.
int label_promise(const Column& column) {
  const std::string name = lower(column.place), last = lower(column.name);
  const auto has = [](const std::string& text, std::initializer_list<std::string_view> words) {
    return std::ranges::any_of(words,
                               [&](std::string_view word) { return text.find(word) != std::string::npos; });
  };
  const bool can_be = column.seen.size() >= 2 && column.seen.size() <= kMostClasses;
  const int promise = last == "y" || has(name, {"label", "flavour", "flavor"})  ? 4
                      : has(name, {"class", "signal", "target", "kind"})        ? 3
                      : last.starts_with("is_") || has(last, {"type", "truth"}) ? 2
                                                                                : 0;
  return promise > 0 && can_be ? promise + 10 : promise;
}

std::string Draft::label_text() const {
  const Column* best = nullptr;
  for (const Column& column : jet_columns_)
    if (label_promise(column) > 0 && (!best || label_promise(column) > label_promise(*best))) best = &column;
  std::vector<std::int64_t> values = best ? best->seen : std::vector<std::int64_t>{};
  const bool some_without = std::erase_if(values, [](std::int64_t value) { return value < 0; }) > 0;
  const std::string of = best ? "jet." + quote_column(best->name) : "jet.label";
  if (values.size() < 2 || values.size() > kMostClasses)
    return fmt::format(
        "\n# No column looks like a label. Files of one class each: {} for each. Else:\n"
        "# [label]\n# of = {}\n# classes = [[\"background\", 0], [\"signal\", 1]]\n# signal = "
        "\"signal\"\n",
        setting("data", "NAME=FILE"), toml_quote(of));
  std::vector<std::string> classes;
  for (const std::int64_t value : values)
    classes.push_back(values.size() == 2
                          ? fmt::format("[\"{}\", {}]", classes.empty() ? "background" : "signal", value)
                          : fmt::format("[\"class_{}\", {}]", value, value));
  return fmt::format("\n[label]\nof = {}\nclasses = [{}]   # name, label value\n{}{}", toml_quote(of),
                     fmt::join(classes, ", "), values.size() == 2 ? "signal = \"signal\"\n" : "",
                     some_without ? "others = \"drop\"     # negative: no class\n" : "");
}

std::string Draft::text(std::string_view file) const {
  if (particle_columns_.empty()) return {};
  return fmt::format(
      "# Draft of a card for {}: look at names, units, mask, inputs and labels.\ncard = 1\n{}{}\n"
      "# unit = {{ pt = \"MeV\" }} under a source: what is not in GeV, mm, rad\n{}{}{}",
      file, left_out_, sources_, particles_text(), inputs_text(), label_text());
}

}  // namespace

std::string draft_jets(std::span<const DatasetShape> datasets, std::string_view file) {
  return Draft(datasets).text(file);
}

}  // namespace bunchtrain::features::detail
