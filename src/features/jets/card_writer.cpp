// SPDX-License-Identifier: Apache-2.0
// Cards of jets and hits as TOML text.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>

#include "bunchtrain/features/card.hpp"
#include "cards/card_words.hpp"
#include "cards/place_text.hpp"
#include "cards/toml_text.hpp"

namespace bunchtrain::features {
namespace {

using detail::toml_key;
using detail::toml_list;
using detail::toml_number;
using detail::toml_quote;

std::string place(const ReadSource& source) {
  std::string text = source.dataset.empty() ? "" : detail::quote_name(source.dataset);
  if (source.group) return text.empty() ? "*" : text + "/*";
  if (!source.member.empty()) text += ":" + detail::quote_name(source.member);
  if (source.slice_begin != 0 || source.slice_end >= 0) {
    text += fmt::format("[{}:{}]", source.slice_begin,
                        source.slice_end >= 0 ? fmt::format("{}", source.slice_end) : "");
  }
  return text;
}

std::string layout_text(const LayoutSpec& layout) {
  const char* type = layout.type == ElementLayout::csr    ? "csr"
                     : layout.type == ElementLayout::flat ? "flat"
                                                          : "padded";
  std::string text = fmt::format("\n[layout]\ntype = \"{}\"\n", type);
  const auto add = [&text](std::string_view key, const NumberPlace& place) {
    if (place.empty()) return;
    std::string name = detail::quote_name(place.dataset);
    if (!place.member.empty()) name += ":" + detail::quote_name(place.member);
    text += fmt::format("{} = {}\n", key, toml_quote(name));
  };
  add("row_splits", layout.row_splits);
  add("counts", layout.counts);
  add("event", layout.event);
  add("events", layout.events);
  return text;
}

std::string source_text(const ReadSource& source, const detail::CardWords& words) {
  std::string text = fmt::format("\n[[read.{}]]\nfrom = {}\n",
                                 source.per_particle ? words.element_source : words.sample_source,
                                 toml_quote(place(source)));
  if (!source.columns.empty()) text += fmt::format("columns = {}\n", toml_list(source.columns));
  const auto all = source.units.find("*");
  if (all != source.units.end() && source.units.size() == 1) {
    text += fmt::format("unit = {}\n", toml_quote(all->second));
  } else if (!source.units.empty()) {
    std::vector<std::string> units;
    for (const auto& [column, unit] : source.units)
      units.push_back(fmt::format("{} = {}", toml_key(column), toml_quote(unit)));
    text += fmt::format("unit = {{ {} }}\n", fmt::join(units, ", "));
  }
  return text;
}

std::string input_text(const InputSpec& input) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const bool bounded = input.minimum || input.maximum;
  const std::string bounds = fmt::format("{}, {}", toml_number(input.minimum.value_or(-kInfinity)),
                                         toml_number(input.maximum.value_or(kInfinity)));
  if (input.automatic) return fmt::format("[{}, \"auto\", {}]", toml_quote(input.expression), bounds);
  if (!bounded && input.subtract == 0 && input.multiply == 1) return toml_quote(input.expression);
  return fmt::format("[{}, {}, {}, {}]", toml_quote(input.expression), toml_number(input.subtract),
                     toml_number(input.multiply), bounds);
}

std::string particles_text(const Card& card) {
  std::string text = fmt::format("\n[{}]\n", detail::words_of(card.kind).section);
  if (!card.mask.empty()) text += fmt::format("mask = {}\n", toml_quote(card.mask));
  if (card.kind == CardKind::jets) text += fmt::format("length = {}\n", card.length);
  if (card.kind == CardKind::jets && card.ragged) text += "batches = \"ragged\"\n";
  if (card.sort_by_pt) text += "sort_by_pt = true\n";
  if (card.nan) text += fmt::format("nan = {}\n", toml_number(*card.nan));
  return text;
}

std::string inputs_text(const Card& card) {
  std::string text = "\n[inputs]\n";
  for (const auto& [tensor, columns] : card.inputs) {
    text += fmt::format("{} = [\n", toml_key(tensor));
    for (const InputSpec& column : columns) text += fmt::format("  {},\n", input_text(column));
    text += "]\n";
  }
  return text;
}

std::string label_text(const Card& card) {
  std::string text = fmt::format("\n[label]\nof = {}\nclasses = [\n", toml_quote(card.label));
  for (const ClassSpec& spec : card.classes) {
    text += fmt::format("  [{}, {}],\n", toml_quote(spec.name), fmt::join(spec.values, ", "));
  }
  text += fmt::format("]\nothers = \"{}\"\n", card.drop_other_labels ? "drop" : "error");
  if (!card.signal.empty()) text += fmt::format("signal = {}\n", toml_quote(card.signal));
  return text;
}

std::string target_text(const TargetSpec& target) {
  std::string text = fmt::format("of = {}", toml_quote(target.expression));
  if (!target.unit.empty()) text += fmt::format(", unit = {}", toml_quote(target.unit));
  if (target.relative) text += ", relative = true";
  if (target.mean) text += fmt::format(", mean = {}", toml_number(*target.mean));
  if (target.width) text += fmt::format(", width = {}", toml_number(*target.width));
  return fmt::format("{} = {{ {} }}\n", toml_key(target.name), text);
}

std::string targets_text(const Card& card) {
  std::string text = "\n[targets]\n";
  for (const TargetSpec& target : card.targets) text += target_text(target);
  return text;
}

std::string select_text(const Card& card) {
  std::string text = "\n[select]\n";
  if (!card.select.empty())
    text += fmt::format("{} = {}\n", detail::words_of(card.kind).selection, toml_quote(card.select));
  if (card.drop_not_finite) text += "not_finite = \"drop\"\n";
  return text;
}

std::string weights_text(const Card& card) {
  std::string text = "\n[weights]\n";
  std::vector<std::string> weights;
  for (const double weight : card.class_weights) weights.push_back(toml_number(weight));
  if (card.balanced_classes)
    text += "class = \"balanced\"\n";
  else if (!weights.empty())
    text += fmt::format("class = [{}]\n", fmt::join(weights, ", "));
  if (!card.sample_weight.empty()) text += fmt::format("sample = {}\n", toml_quote(card.sample_weight));
  if (card.weight_factor) text += fmt::format("factor = {}\n", toml_number(*card.weight_factor));
  return text;
}

}  // namespace

std::string to_toml(const Card& card) {
  const detail::CardWords& words = detail::words_of(card.kind);
  std::string text =
      fmt::format("card = 1\n{}name = {}\n", card.kind == CardKind::hits ? "kind = \"hits\"\n" : "",
                  toml_quote(card.name));
  if (card.fill_missing) text += "missing = \"fill\"\n";
  if (card.layout != LayoutSpec{} || card.kind == CardKind::hits) text += layout_text(card.layout);
  for (const ReadSource& source : card.sources) text += source_text(source, words);
  text += particles_text(card);
  if (!card.define.empty()) {
    text += "\n[define]\n";
    // "jet.pt" is a dotted key: TOML reads it as pt in a table jet, the parser puts it together again.
    for (const auto& [name, expression] : card.define)
      text += fmt::format("{} = {}\n", name, toml_quote(expression));
  }
  if (!card.inputs.empty()) text += inputs_text(card);
  if (!card.label.empty()) text += label_text(card);
  if (!card.targets.empty()) text += targets_text(card);
  if (!card.select.empty() || card.drop_not_finite) text += select_text(card);
  if (card.has_weights() || card.weight_factor) text += weights_text(card);
  text += "\n[split]\n";
  if (!card.split_by.empty()) text += fmt::format("by = {}\n", toml_quote(card.split_by));
  text += fmt::format("fractions = {{ valid = {} }}\n", toml_number(card.valid_fraction));
  if (!card.observers.empty()) text += fmt::format("\n[output]\nobservers = {}\n", toml_list(card.observers));
  return text;
}

}  // namespace bunchtrain::features
