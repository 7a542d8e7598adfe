// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/features/card.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "bunchtrain/features/shower_card.hpp"
#include "cards/builtin_cards.hpp"
#include "compiled_card.hpp"

namespace bunchtrain::features {
namespace {

std::vector<std::string> class_names(const Card& card) {
  std::vector<std::string> names;
  for (const ClassSpec& spec : card.classes) names.push_back(spec.name);
  return names;
}

void validate_classes(const Card& card) {
  const std::vector<std::string> names = class_names(card);
  const std::string listed = fmt::format("{}", fmt::join(names, ", "));
  if (std::set(names.begin(), names.end()).size() != names.size()) {
    throw ConfigError("label.classes", listed, "names that differ");
  }
  std::set<std::int64_t> values;
  for (const ClassSpec& spec : card.classes) {
    if (spec.name.find(',') != std::string::npos)
      throw ConfigError("label.classes", spec.name, "names without commas: lists of classes have them");
    if (spec.name.empty() || spec.values.empty()) {
      throw ConfigError("label.classes", spec.name, "a name and at least one label value each: [\"b\", 5]");
    }
    for (const std::int64_t value : spec.values) {
      if (!values.insert(value).second) {
        throw ConfigError("label.classes", fmt::format("{}", value), "each label value in one class only");
      }
    }
  }
  if (card.label.empty() != card.classes.empty()) {
    throw ConfigError("label", card.label, "\"of\" and \"classes\" together");
  }
  if (!card.classes.empty() && card.classes.size() < 2)
    throw ConfigError("label.classes", listed, "at least two classes");
  if (!card.signal.empty() && std::ranges::find(names, card.signal) == names.end()) {
    throw ConfigError("label.signal", card.signal, fmt::format("one of the classes: {}", listed));
  }
}

void validate_weights(const Card& card) {
  if (card.balanced_classes && card.classes.empty()) {
    throw ConfigError("weights.class", "balanced", "classes to balance: the card has no [label]");
  }
  if (!card.class_weights.empty() && card.class_weights.size() != card.classes.size()) {
    throw ConfigError("weights.class", fmt::format("{}", fmt::join(card.class_weights, ", ")),
                      fmt::format("one weight for each of the {} classes", card.classes.size()));
  }
  for (const double weight : card.class_weights) {
    if (!std::isfinite(weight) || weight < 0) {
      throw ConfigError("weights.class", fmt::format("{}", weight), "finite and not negative");
    }
  }
  if (card.weight_factor && !(std::isfinite(*card.weight_factor) && *card.weight_factor > 0))
    throw ConfigError("weights.factor", fmt::format("{}", *card.weight_factor), "a finite number above 0");
}

void validate_inputs(const Card& card) {
  std::set<std::string> names{"mask", "label", "weight", "row_splits"};
  for (const auto& [tensor, columns] : card.inputs) {
    if (!names.insert(tensor).second) {
      throw ConfigError("inputs", tensor,
                        "names that differ from each other and from mask, label, weight, row_splits");
    }
    if (columns.empty()) throw ConfigError("inputs." + tensor, "[]", "at least one column");
    for (const InputSpec& column : columns) {
      if (column.minimum && column.maximum && *column.minimum > *column.maximum) {
        throw ConfigError("inputs." + tensor, column.expression, "a minimum not above the maximum");
      }
    }
  }
}

/// Which places a layout has, and what they are called.
void validate_layout(const Card& card) {
  const LayoutSpec& layout = card.layout;
  const bool csr = layout.type == ElementLayout::csr, flat = layout.type == ElementLayout::flat;
  const auto require = [](bool condition, std::string_view field, const NumberPlace& place,
                          std::string_view allowed) {
    if (!condition) throw ConfigError(fmt::format("layout.{}", field), place.dataset, allowed);
  };
  require(csr || layout.row_splits.empty(), "row_splits", layout.row_splits,
          "only in a layout of type \"csr\"");
  require(!flat || layout.counts.empty(), "counts", layout.counts,
          "only in a layout of type \"csr\" or \"padded\"");
  require(flat || layout.event.empty(), "event", layout.event, "only in a layout of type \"flat\"");
  require(flat || layout.events.empty(), "events", layout.events, "only in a layout of type \"flat\"");
  require(!csr || layout.row_splits.empty() != layout.counts.empty(), "row_splits", layout.row_splits,
          "row_splits or counts, one of them: where each event's elements are");
  require(!flat || !layout.event.empty(), "event", layout.event,
          "the number of the event of each element: \"hits:event\"");
}

void validate_kind(const Card& card) {
  if (card.kind == CardKind::showers)
    throw ConfigError("kind", "showers", "jets or hits: a card of showers is a ShowerCard");
  if (card.kind == CardKind::hits && !card.ragged)
    throw ConfigError("kind", "hits", "ragged batches; a padded collation makes padded ones of them");
  if (card.kind == CardKind::jets || card.label.empty() || card.sample_weight.empty()) return;
  const detail::CompiledCard compiled(card);
  if (compiled.label_of_elements != compiled.weight_of_elements)
    throw ConfigError("weights.sample", card.sample_weight,
                      "a weight of hits where hits have labels, and one of events where events have them");
}

/// A target is a tensor beside the others.
void validate_targets(const Card& card) {
  std::set<std::string> taken{"mask", "label", "weight", "row_splits", "logits", "row", "selected"};
  for (const auto& [tensor, columns] : card.inputs) taken.insert(tensor);
  for (const TargetSpec& target : card.targets) {
    const std::string entry = "targets." + target.name;
    if (target.name.empty() || target.name.find_first_of(".,:/ ") != std::string::npos)
      throw ConfigError("targets", target.name, "names of letters, digits, _ and -");
    if (!taken.insert(target.name).second)
      throw ConfigError(entry, target.expression,
                        "a name that is no input, no other target, and not mask, label, weight, logits, row "
                        "or selected");
    if (target.expression.empty())
      throw ConfigError(entry, "",
                        fmt::format("an expression of the {}", detail::words_of(card.kind).sample));
    if (target.mean.has_value() != target.width.has_value())
      throw ConfigError(entry, target.expression, "mean and width together, or neither");
    if (target.mean && !std::isfinite(*target.mean))
      throw ConfigError(entry + ".mean", fmt::format("{}", *target.mean), "a finite number");
    if (target.width && !(std::isfinite(*target.width) && *target.width > 0))
      throw ConfigError(entry + ".width", fmt::format("{}", *target.width), "a finite number above 0");
  }
}

}  // namespace

std::string_view sample_word(CardKind kind) noexcept {
  return kind == CardKind::showers ? "shower" : detail::words_of(kind).sample;
}
std::string_view element_word(CardKind kind) noexcept {
  return kind == CardKind::showers ? "cell" : detail::words_of(kind).element;
}

std::string column_text(CardKind kind, std::string_view column) {
  const detail::CardWords& words = detail::words_of(kind);
  const bool of_element = column.starts_with(detail::kElementPrefix);
  if (!of_element && !column.starts_with(detail::kSamplePrefix)) return std::string(column);
  const std::string_view known = of_element ? detail::kElementPrefix : detail::kSamplePrefix;
  return std::string(of_element ? words.element_prefix : words.sample_prefix)
      .append(column.substr(known.size()));
}

const TargetSpec& Card::target(std::string_view wanted) const {
  const auto found = std::ranges::find(targets, wanted, &TargetSpec::name);
  if (found != targets.end()) return *found;
  std::vector<std::string> names;
  for (const TargetSpec& known : targets) names.push_back(known.name);
  if (names.empty())
    throw ConfigError(
        fmt::format("card {} has no target '{}', nor any other: name it in the card\n  [targets]\n  {} = "
                    "\"EXPRESSION OF THE JET\"",
                    name, wanted, wanted));
  const std::string near = nearest(wanted, names);
  throw ConfigError(fmt::format("card {} has no target '{}'; its [targets] are {}{}", name, wanted,
                                fmt::join(names, ", "),
                                near.empty() ? "" : fmt::format(": did you mean '{}'?", near)));
}

std::size_t Card::num_inputs(std::string_view tensor) const {
  for (const auto& [name, columns] : inputs) {
    if (name == tensor) return columns.size();
  }
  return 0;
}

void validate(const Card& card) {
  const detail::CardWords& words = detail::words_of(card.kind);
  if (card.sources.empty())
    throw ConfigError(
        "read", "",
        fmt::format("at least one [[read.{}]] or [[read.{}]]", words.sample_source, words.element_source));
  if (card.length < 1) throw ConfigError("particles.length", fmt::format("{}", card.length), "at least 1");
  if (!(card.valid_fraction >= 0 && card.valid_fraction < 1)) {
    throw ConfigError("split.fractions.valid", fmt::format("{}", card.valid_fraction),
                      "at least 0 and below 1");
  }
  validate_layout(card);
  validate_kind(card);
  validate_inputs(card);
  validate_classes(card);
  validate_weights(card);
  validate_targets(card);
  detail::CompiledCard compiled(card);  // every expression compiles
}

namespace detail {

std::string card_text(std::string_view name_or_path, const std::vector<std::string>& names) {
  for (const BuiltinCard& card : builtin_card_list())
    if (card.name == name_or_path) return std::string(card.text);
  const std::filesystem::path path(name_or_path);
  if (path.extension() == ".toml" || std::filesystem::exists(path)) return read_text_file(path);
  const std::string near = nearest(name_or_path, names);
  throw ConfigError("card", name_or_path,
                    fmt::format("a path to a .toml file or one of {}{}", fmt::join(names, ", "),
                                near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

}  // namespace detail

namespace {

std::vector<std::string> all_builtin_cards() {
  std::vector<std::string> names;
  for (const detail::BuiltinCard& card : detail::builtin_card_list()) names.emplace_back(card.name);
  return names;
}

}  // namespace

Card load_card(std::string_view name_or_path) {
  std::vector<std::string> names = builtin_cards();
  for (std::string& name : builtin_hit_cards()) names.push_back(std::move(name));
  return parse_card(detail::card_text(name_or_path, names), name_or_path);
}

std::vector<std::string> builtin_cards() {
  std::vector<std::string> names;
  for (const detail::BuiltinCard& card : detail::builtin_card_list())
    if (card.kind == CardKind::jets) names.emplace_back(card.name);
  return names;
}

std::vector<std::string> builtin_hit_cards() {
  std::vector<std::string> names;
  for (const detail::BuiltinCard& card : detail::builtin_card_list())
    if (card.kind == CardKind::hits) names.emplace_back(card.name);
  return names;
}

CardKind kind_of_card(std::string_view name_or_path) {
  return kind_of_text(detail::card_text(name_or_path, all_builtin_cards()));
}

std::string_view builtin_card_text(std::string_view name) {
  for (const detail::BuiltinCard& card : detail::builtin_card_list())
    if (card.name == name) return card.text;
  throw ConfigError("card", name, fmt::format("one of {}", fmt::join(all_builtin_cards(), ", ")));
}

void override_length(Card& card, std::int64_t length) {
  if (length < 1) throw ConfigError("length", fmt::format("{}", length), "at least 1");
  card.length = length;
}

void override_class_order(Card& card, std::span<const std::string> names) {
  const std::vector<std::string> present = class_names(card);
  std::vector<ClassSpec> ordered;
  std::vector<double> weights;
  for (const std::string& name : names) {
    const auto place = std::ranges::find(present, name);
    if (place == present.end()) {
      throw ConfigError("classes", name,
                        fmt::format("the card's classes, each once: {}", fmt::join(present, ",")));
    }
    const auto index = static_cast<std::size_t>(place - present.begin());
    ordered.push_back(card.classes[index]);
    if (!card.class_weights.empty()) weights.push_back(card.class_weights[index]);
  }
  if (ordered.size() != present.size() || std::set(names.begin(), names.end()).size() != names.size()) {
    throw ConfigError("classes", fmt::format("{}", fmt::join(names, ",")),
                      fmt::format("each of the card's classes once: {}", fmt::join(present, ",")));
  }
  card.classes = std::move(ordered);
  card.class_weights = std::move(weights);
}

namespace {

const ClassSpec* find_class(const Card& card, std::string_view name) {
  const auto found = std::ranges::find(card.classes, name, &ClassSpec::name);
  return found == card.classes.end() ? nullptr : &*found;
}

/// The classes of the card that are named, in its order, with their label values.
std::vector<ClassSpec> named_classes(const Card& card, std::span<const std::string> names) {
  std::vector<ClassSpec> classes;
  for (const ClassSpec& spec : card.classes)
    if (std::ranges::find(names, spec.name) != names.end()) classes.push_back(spec);
  return classes;
}

std::vector<ClassSpec> new_classes(std::span<const std::string> names) {
  std::vector<ClassSpec> classes;
  for (const std::string& name : names)
    classes.push_back({.name = name, .values = {static_cast<std::int64_t>(classes.size())}});
  return classes;
}

}  // namespace

void label_by_file(Card& card, std::span<const std::string> names) {
  if (card.label == kFileLabel) return label_by_file_of_known_classes(card, names);
  const bool known =
      std::ranges::all_of(names, [&card](const std::string& name) { return find_class(card, name); });
  std::vector<ClassSpec> classes = known ? named_classes(card, names) : new_classes(names);
  if (classes.size() < 2)
    throw ConfigError("data", fmt::format("{}=...", fmt::join(names, "=... ")),
                      "files of at least two classes: NAME=FILE for each");
  if (!card.class_weights.empty() && classes != card.classes)
    throw ConfigError("weights.class", fmt::format("{}", fmt::join(card.class_weights, ", ")),
                      fmt::format("\"balanced\", or [label] of = \"file\" with the classes {} in the card",
                                  fmt::join(names, ", ")));
  card.label = kFileLabel;
  card.classes = std::move(classes);
  if (!find_class(card, card.signal)) card.signal.clear();
}

void label_by_file_of_known_classes(Card& card, std::span<const std::string> names) {
  for (const std::string& name : names)
    if (!find_class(card, name))
      throw ConfigError(
          "data", name + "=...",
          fmt::format("NAME=FILE with one of the classes {}", fmt::join(class_names(card), ", ")));
  card.label = kFileLabel;
}

std::string describe_labels(const Card& card) {
  if (card.label.empty()) return "none";
  std::vector<std::string> classes;
  for (const ClassSpec& spec : card.classes)
    classes.push_back(fmt::format("{} {}", fmt::join(spec.values, " "), spec.name));
  return fmt::format("{}: {}", card.label, fmt::join(classes, ", "));
}

}  // namespace bunchtrain::features
