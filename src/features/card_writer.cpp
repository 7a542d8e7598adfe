// SPDX-License-Identifier: Apache-2.0
// Cards as TOML text. Written by hand, not by the TOML library, so that the order and the layout are those of
// docs/cards.md.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bunchtrain/features/card.hpp"
#include "detail/expression_parser.hpp"

namespace bunchtrain::features {
namespace {

std::string quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      quoted += fmt::format("\\u{:04x}", static_cast<int>(c));
    else
      quoted += c;
  }
  return quoted + '"';
}

std::string key(std::string_view name) {
  const bool bare = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  return bare ? std::string(name) : quote(name);
}

/// The shortest decimal that reads back to the same double; TOML wants a point or an exponent only in floats.
std::string number(double value) {
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  if (std::isnan(value)) return "nan";
  const std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string list(const std::vector<std::string>& values) {
  std::vector<std::string> quoted;
  for (const std::string& value : values) quoted.push_back(quote(value));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::string place(const ReadSource& source) {
  std::string text = source.dataset;
  if (!source.member.empty()) text += ":" + source.member;
  if (source.slice_begin != 0 || source.slice_end >= 0) {
    text += fmt::format("[{}:{}]", source.slice_begin,
                        source.slice_end >= 0 ? fmt::format("{}", source.slice_end) : "");
  }
  return text;
}

std::string source_text(const ReadSource& source) {
  std::string text =
      fmt::format("\n[[read.{}]]\nfrom = {}\n", source.per_particle ? "part" : "jet", quote(place(source)));
  if (!source.columns.empty()) text += fmt::format("columns = {}\n", list(source.columns));
  const auto all = source.units.find("*");
  if (all != source.units.end() && source.units.size() == 1) {
    text += fmt::format("unit = {}\n", quote(all->second));
  } else if (!source.units.empty()) {
    std::vector<std::string> units;
    for (const auto& [column, unit] : source.units)
      units.push_back(fmt::format("{} = {}", key(column), quote(unit)));
    text += fmt::format("unit = {{ {} }}\n", fmt::join(units, ", "));
  }
  return text;
}

std::string input_text(const InputSpec& input) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const bool bounded = input.minimum || input.maximum;
  const std::string bounds = fmt::format("{}, {}", number(input.minimum.value_or(-kInfinity)),
                                         number(input.maximum.value_or(kInfinity)));
  if (input.automatic) return fmt::format("[{}, \"auto\", {}]", quote(input.expression), bounds);
  if (!bounded && input.subtract == 0 && input.multiply == 1) return quote(input.expression);
  return fmt::format("[{}, {}, {}, {}]", quote(input.expression), number(input.subtract),
                     number(input.multiply), bounds);
}

std::string particles_text(const Card& card) {
  std::string text = "\n[particles]\n";
  if (!card.mask.empty()) text += fmt::format("mask = {}\n", quote(card.mask));
  text += fmt::format("length = {}\n", card.length);
  if (card.sort_by_pt) text += "sort_by_pt = true\n";
  if (card.nan) text += fmt::format("nan = {}\n", number(*card.nan));
  return text;
}

std::string inputs_text(const Card& card) {
  std::string text = "\n[inputs]\n";
  for (const auto& [tensor, columns] : card.inputs) {
    text += fmt::format("{} = [\n", key(tensor));
    for (const InputSpec& column : columns) text += fmt::format("  {},\n", input_text(column));
    text += "]\n";
  }
  return text;
}

std::string label_text(const Card& card) {
  std::string text = fmt::format("\n[label]\nof = {}\nclasses = [\n", quote(card.label));
  for (const ClassSpec& spec : card.classes) {
    text += fmt::format("  [{}, {}],\n", quote(spec.name), fmt::join(spec.values, ", "));
  }
  text += fmt::format("]\nothers = \"{}\"\n", card.drop_other_labels ? "drop" : "error");
  if (!card.signal.empty()) text += fmt::format("signal = {}\n", quote(card.signal));
  return text;
}

std::string weights_text(const Card& card) {
  std::string text = "\n[weights]\n";
  std::vector<std::string> weights;
  for (const double weight : card.class_weights) weights.push_back(number(weight));
  if (card.balanced_classes)
    text += "class = \"balanced\"\n";
  else if (!weights.empty())
    text += fmt::format("class = [{}]\n", fmt::join(weights, ", "));
  if (!card.sample_weight.empty()) text += fmt::format("sample = {}\n", quote(card.sample_weight));
  return text;
}

}  // namespace

std::string to_toml(const Card& card) {
  std::string text = fmt::format("card = 1\nname = {}\n", quote(card.name));
  for (const ReadSource& source : card.sources) text += source_text(source);
  text += particles_text(card);
  if (!card.define.empty()) {
    text += "\n[define]\n";
    // "jet.pt" is a dotted key: TOML reads it as pt in a table jet, the parser puts it together again.
    for (const auto& [name, expression] : card.define)
      text += fmt::format("{} = {}\n", name, quote(expression));
  }
  if (!card.inputs.empty()) text += inputs_text(card);
  if (!card.label.empty()) text += label_text(card);
  if (!card.select.empty()) text += fmt::format("\n[select]\njets = {}\n", quote(card.select));
  if (card.balanced_classes || !card.class_weights.empty() || !card.sample_weight.empty())
    text += weights_text(card);
  text += "\n[split]\n";
  if (!card.split_by.empty()) text += fmt::format("by = {}\n", quote(card.split_by));
  text += fmt::format("fractions = {{ valid = {} }}\n", number(card.valid_fraction));
  if (!card.observers.empty()) text += fmt::format("\n[output]\nobservers = {}\n", list(card.observers));
  return text;
}

}  // namespace bunchtrain::features
