// SPDX-License-Identifier: Apache-2.0
// TOML text to cards of jets and of hits.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/card.hpp"
#include "cards/card_words.hpp"
#include "cards/toml_reader.hpp"
#include "expressions/card_expressions.hpp"
#include "kinematics.hpp"

namespace bunchtrain::features {
namespace {

/// Reads one card; every error names the line.
class CardReader : private detail::TomlReader {
 public:
  using TomlReader::TomlReader;

  Card read();

 private:
  std::string as_expression(const toml::node& node, std::string_view what);

  void read_kind(const toml::table& root);
  void read_sections(const toml::table& root);
  void read_layout(const toml::table& table);
  void read_sources(const toml::table& read);
  ReadSource read_source(const toml::table& table, bool per_particle) const;
  void read_place(const toml::node& node, ReadSource& source) const;
  void read_units(const toml::node& node, ReadSource& source) const;
  void read_particles(const toml::table& table);
  void read_definitions(const toml::table& table, const std::string& prefix);
  void read_inputs(const toml::table& table);
  InputSpec read_input(const toml::node& node);
  InputSpec read_transformed(const toml::array& parts);
  void read_label(const toml::table& table);
  TargetSpec read_target(const detail::TomlEntry& entry);
  bool chooses_drop(const toml::node& node, std::string_view key) const;
  ClassSpec read_class(const toml::node& node) const;
  void read_weights(const toml::table& table);
  void read_split(const toml::table& table);
  void check_expressions() const;

  const detail::CardWords& words() const noexcept { return detail::words_of(card_.kind); }

  Card card_;
  bool uses_kinematics_ = false;
  const toml::node* kinematics_place_ = nullptr;
  std::vector<std::pair<const toml::node*, std::string>> expressions_;  ///< with the places where they stand
};

std::string CardReader::as_expression(const toml::node& node, std::string_view what) {
  std::string text = as_string(node, what);
  expressions_.emplace_back(&node, text);
  return text;
}

Card CardReader::read() {
  const toml::table root = parse();
  if (root.contains("shower"))
    throw ConfigError(fmt::format(
        "card {} is a card of showers (it has a table [shower]): train_3dgan reads it", origin()));
  read_kind(root);
  read_sections(root);
  if (uses_kinematics_) {
    try {
      detail::define_kinematics(card_);
    } catch (const ConfigError& error) {
      fail(*kinematics_place_, error.message());
    }
  }
  check_expressions();
  return validated(std::move(card_));
}

void CardReader::read_kind(const toml::table& root) {
  const toml::node* node = root.get("kind");
  if (!node) return;
  const std::string kind = as_string(*node, "kind");
  if (kind != "jets" && kind != "hits")
    fail(*node,
         fmt::format("kind = \"{}\": \"jets\" or \"hits\"; a card of showers has a table [shower]", kind));
  card_.kind = kind == "hits" ? CardKind::hits : CardKind::jets;
  card_.ragged = card_.kind == CardKind::hits;
}

void CardReader::read_sections(const toml::table& root) {
  check_keys(root, "at top level",
             {"card", "kind", "name", "missing", "layout", "read", words().section, "define", "inputs",
              "label", "targets", "select", "weights", "split", "output"});
  section(root, "layout", [&](const toml::table& table) { read_layout(table); });
  card_.name = name_of(root);
  read_missing(root, card_.fill_missing);
  section(root, "read", [&](const toml::table& table) { read_sources(table); });
  section(root, words().section, [&](const toml::table& table) { read_particles(table); });
  section(root, "define", [&](const toml::table& table) { read_definitions(table, ""); });
  section(root, "inputs", [&](const toml::table& table) { read_inputs(table); });
  section(root, "label", [&](const toml::table& table) { read_label(table); });
  section(root, "targets", [&](const toml::table& table) {
    for (const detail::TomlEntry& entry : detail::entries_of(table))
      card_.targets.push_back(read_target(entry));
  });
  section(root, "select", [&](const toml::table& table) {
    check_keys(table, "in [select]", {words().selection, "not_finite"});
    if (const toml::node* chosen = table.get(words().selection))
      card_.select = as_expression(*chosen, fmt::format("select.{}", words().selection));
    if (const toml::node* choice = table.get("not_finite"))
      card_.drop_not_finite = chooses_drop(*choice, "not_finite");
  });
  section(root, "weights", [&](const toml::table& table) { read_weights(table); });
  section(root, "split", [&](const toml::table& table) { read_split(table); });
  section(root, "output", [&](const toml::table& table) {
    check_keys(table, "in [output]", {"observers"});
    const toml::node* observers = table.get("observers");
    if (!observers) return;
    for (const toml::node& one : as_array(*observers, "observers")) {
      card_.observers.push_back(as_expression(one, "an observer"));
    }
  });
}

void CardReader::read_layout(const toml::table& table) {
  check_keys(table, "in [layout]", {"type", "row_splits", "counts", "event", "events"});
  const toml::node* type = table.get("type");
  if (!type) fail(table, "[layout] needs \"type\": \"csr\", \"flat\" or \"padded\"");
  const std::string name = as_string(*type, "type");
  if (name == "csr") {
    card_.layout.type = ElementLayout::csr;
  } else if (name == "flat") {
    card_.layout.type = ElementLayout::flat;
  } else if (name != "padded") {
    fail(*type, fmt::format("type = \"{}\": \"csr\", \"flat\" or \"padded\"", name));
  }
  const auto place = [&](std::string_view key, NumberPlace& target) {
    const toml::node* node = table.get(key);
    if (!node) return;
    detail::PlaceText parts = as_place(*node, key);
    if (parts.group || parts.brackets)
      fail(*node, fmt::format("{} is a dataset, or a member of one: \"hits:event\"", key));
    target = {.dataset = std::move(parts.dataset), .member = std::move(parts.member)};
  };
  place("row_splits", card_.layout.row_splits);
  place("counts", card_.layout.counts);
  place("event", card_.layout.event);
  place("events", card_.layout.events);
}

void CardReader::read_sources(const toml::table& read) {
  check_keys(read, "in [[read]]", {words().sample_source, words().element_source});
  struct Place {
    const toml::table* table;
    bool per_particle;
  };
  std::vector<Place> places;
  for (const auto& [key, list] : read) {
    const bool per_particle = key.str() == words().element_source;
    for (const toml::node& source :
         as_array(list, fmt::format("read.{0} and read.{1}: [[read.{0}]]; each", words().sample_source,
                                    words().element_source))) {
      places.push_back({&as_table(source, fmt::format("[[read.{}]] or [[read.{}]]", words().sample_source,
                                                      words().element_source)),
                        per_particle});
    }
  }
  std::ranges::sort(places, {}, [](const Place& place) { return place.table->source().begin.line; });
  for (const Place& place : places) card_.sources.push_back(read_source(*place.table, place.per_particle));
}

ReadSource CardReader::read_source(const toml::table& table, bool per_particle) const {
  check_keys(table,
             fmt::format("in [[read.{}]]", per_particle ? words().element_source : words().sample_source),
             {"from", "columns", "unit"});
  ReadSource source;
  source.per_particle = per_particle;
  const toml::node* from = table.get("from");
  if (!from) fail(table, "\"from\" is missing: the name of a dataset");
  read_place(*from, source);
  if (const toml::node* columns = table.get("columns")) {
    source.columns = as_strings(*columns, "columns");
    if (source.columns.empty())
      fail(
          *columns,
          "\"columns\" is empty; leave it out to take all members of a compound, or all datasets of a group");
  }
  if (const toml::node* unit = table.get("unit")) read_units(*unit, source);
  return source;
}

/// DATASET:member[begin:end], or GROUP/*; member and slice may be missing.
void CardReader::read_place(const toml::node& node, ReadSource& source) const {
  const std::string text = as_string(node, "from");
  detail::PlaceText place = as_place(node, "from");
  source.dataset = std::move(place.dataset);
  source.group = place.group;
  source.member = std::move(place.member);
  if (!place.brackets) return;
  const std::string& slice = *place.brackets;
  const auto slice_error = [&] {
    fail(node,
         fmt::format("\"{}\": a slice is [begin:end] with 0 <= begin < end; a name with brackets stands "
                     "in quotes: from = \"'name[0]'\"",
                     text));
  };
  const std::size_t colon = slice.find(':');
  if (colon == std::string::npos) slice_error();
  const auto bound = [&](std::string_view digits, std::int64_t missing) {
    if (digits.empty()) return missing;
    std::int64_t value = -1;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || stop != digits.data() + digits.size() || value < 0) slice_error();
    return value;
  };
  source.slice_begin = bound(std::string_view(slice).substr(0, colon), 0);
  source.slice_end = bound(std::string_view(slice).substr(colon + 1), -1);
  if (source.slice_end >= 0 && source.slice_end <= source.slice_begin) slice_error();
}

void CardReader::read_units(const toml::node& node, ReadSource& source) const {
  const auto add = [&](std::string column, const toml::node& value) {
    source.units.emplace(std::move(column), as_unit(value));
  };
  if (node.is_string()) return add("*", node);
  for (const detail::TomlEntry& entry :
       detail::entries_of(as_table(node, "unit (\"GeV\", or { pt = \"GeV\" })"))) {
    if (!source.columns.empty() && std::ranges::find(source.columns, entry.name) == source.columns.end()) {
      fail(*entry.value, fmt::format("unit of \"{}\": no such column; columns: {}", entry.name,
                                     fmt::join(source.columns, ", ")));
    }
    add(entry.name, *entry.value);
  }
}

void CardReader::read_particles(const toml::table& table) {
  if (card_.kind == CardKind::hits) {
    check_keys(table, "in [hits]", {"mask", "nan"});
  } else {
    check_keys(table, "in [particles]", {"mask", "length", "nan", "sort_by_pt", "batches"});
  }
  if (const toml::node* mask = table.get("mask")) card_.mask = as_expression(*mask, "mask");
  if (const toml::node* nan = table.get("nan")) card_.nan = as_number(*nan, "nan");
  if (const toml::node* sort = table.get("sort_by_pt")) card_.sort_by_pt = as_flag(*sort, "sort_by_pt");
  if (const toml::node* batches = table.get("batches")) {
    const std::string form = as_string(*batches, "batches");
    if (form != "padded" && form != "ragged")
      fail(*batches, fmt::format("batches = \"{}\": \"padded\" or \"ragged\"", form));
    card_.ragged = form == "ragged";
  }
  if (const toml::node* length = table.get("length")) {
    card_.length = as_integer(*length, "length");
    constexpr std::int64_t kLongest = 1 << 20;
    if (card_.length < 1 || card_.length > kLongest)
      fail(*length, fmt::format("length is 1 to {}", kLongest));
  }
}

void CardReader::read_definitions(const toml::table& table, const std::string& prefix) {
  for (const detail::TomlEntry& entry : detail::entries_of(table)) {
    const std::string name = prefix + entry.name;
    if (const toml::table* inner = entry.value->as_table()) {
      read_definitions(*inner, name + ".");  // jet.pt = "..." is a table jet with a key pt
      continue;
    }
    if (!name.starts_with(words().sample_prefix) && !name.starts_with(words().element_prefix)) {
      fail(*entry.value, fmt::format("definition \"{}\": a name begins with \"{}\" or \"{}\"", name,
                                     words().sample_prefix, words().element_prefix));
    }
    card_.define.emplace_back(name, as_string(*entry.value, name));
    expressions_.emplace_back(entry.value, name);
  }
}

void CardReader::read_inputs(const toml::table& table) {
  for (const detail::TomlEntry& tensor : detail::entries_of(table)) {
    std::vector<InputSpec> columns;
    for (const toml::node& node : as_array(*tensor.value, "an input tensor")) {
      if (card_.kind == CardKind::jets && node.value<std::string>() == "kinematics7") {
        const auto seven = detail::kinematics7();
        columns.insert(columns.end(), seven.begin(), seven.end());
        uses_kinematics_ = true;
        kinematics_place_ = &node;
      } else {
        columns.push_back(read_input(node));
      }
    }
    if (columns.empty()) fail(*tensor.value, fmt::format("input tensor \"{}\" has no columns", tensor.name));
    card_.inputs.emplace_back(tensor.name, std::move(columns));
  }
}

InputSpec CardReader::read_input(const toml::node& node) {
  if (node.is_string()) return {.expression = as_expression(node, "an input")};
  if (const toml::array* parts = node.as_array()) return read_transformed(*parts);
  fail(node,
       "an input is \"expression\", [\"expression\", subtract, multiply, min, max] or [\"expression\", "
       "\"auto\"]");
}

/// [x, subtract, multiply, min = -5, max = 5] or [x, "auto", min = -5, max = 5]; infinite bounds are none.
InputSpec CardReader::read_transformed(const toml::array& parts) {
  if (parts.size() < 2) fail(parts, "after the expression: subtract, multiply or \"auto\"");
  InputSpec input{
      .expression = as_expression(*parts.get(0), "the first of an input"), .minimum = -5, .maximum = 5};
  std::size_t next = 1;
  if (parts.get(1)->is_string()) {
    if (as_string(*parts.get(1), "auto") != "auto")
      fail(*parts.get(1), "after the expression: numbers or \"auto\"");
    input.automatic = true;
    next = 2;
  } else {
    if (parts.size() < 3) fail(parts, "subtract is followed by multiply");
    input.subtract = as_number(*parts.get(1), "subtract");
    input.multiply = as_number(*parts.get(2), "multiply");
    next = 3;
  }
  if (parts.size() > next + 2) fail(parts, "too many numbers: [expression, subtract, multiply, min, max]");
  const auto bound = [&](std::size_t index, std::optional<double>& value) {
    if (index >= parts.size()) return;
    value = as_number(*parts.get(index), "a bound");
    if (std::isinf(*value)) value.reset();
  };
  bound(next, input.minimum);
  bound(next + 1, input.maximum);
  return input;
}

void CardReader::read_label(const toml::table& table) {
  check_keys(table, "in [label]", {"of", "classes", "others", "signal"});
  const toml::node* of = table.get("of");
  const toml::node* classes = table.get("classes");
  if (!of || !classes) fail(table, "[label] needs \"of\" and \"classes\"");
  card_.label = as_expression(*of, "of");
  for (const toml::node& node : as_array(*classes, "classes")) card_.classes.push_back(read_class(node));
  if (const toml::node* others = table.get("others")) {
    card_.drop_other_labels = chooses_drop(*others, "others");
  }
  if (const toml::node* signal = table.get("signal")) {
    card_.signal = as_string(*signal, "signal");
    const bool known =
        std::ranges::any_of(card_.classes, [&](const ClassSpec& spec) { return spec.name == card_.signal; });
    if (!known) fail(*signal, fmt::format("signal \"{}\" is none of the classes", card_.signal));
  }
}

/// "EXPRESSION", or a table with it.
TargetSpec CardReader::read_target(const detail::TomlEntry& entry) {
  TargetSpec target{.name = entry.name, .expression = {}};
  const toml::table* table = entry.value->as_table();
  if (!table) {
    target.expression = as_expression(*entry.value, "a target (\"jet.e\", or { of = \"jet.e\" })");
    return target;
  }
  check_keys(*table, "of a target", {"of", "unit", "relative", "mean", "width"});
  const toml::node* of = table->get("of");
  if (!of) fail(*table, fmt::format("a target needs \"of\": an expression of the {}", words().sample));
  target.expression = as_expression(*of, "of");
  if (const toml::node* unit = table->get("unit")) target.unit = as_string(*unit, "unit");
  if (const toml::node* relative = table->get("relative")) target.relative = as_flag(*relative, "relative");
  if (const toml::node* mean = table->get("mean")) target.mean = as_number(*mean, "mean");
  if (const toml::node* width = table->get("width")) target.width = as_number(*width, "width");
  return target;
}

bool CardReader::chooses_drop(const toml::node& node, std::string_view key) const {
  const std::string choice = as_string(node, key);
  if (choice != "drop" && choice != "error")
    fail(node, fmt::format("{} = \"{}\": \"drop\" or \"error\"", key, choice));
  return choice == "drop";
}

ClassSpec CardReader::read_class(const toml::node& node) const {
  const toml::array& parts = as_array(node, "a class ([\"b\", 5])");
  if (parts.size() < 2) fail(node, "a class is a name and its label values: [\"b\", 5]");
  ClassSpec spec{.name = as_string(*parts.get(0), "the name of a class"), .values = {}};
  for (std::size_t i = 1; i < parts.size(); ++i)
    spec.values.push_back(as_integer(*parts.get(i), "a label value"));
  return spec;
}

void CardReader::read_weights(const toml::table& table) {
  check_keys(table, "in [weights]", {"class", "sample", "factor"});
  if (const toml::node* sample = table.get("sample")) card_.sample_weight = as_expression(*sample, "sample");
  if (const toml::node* factor = table.get("factor")) card_.weight_factor = as_number(*factor, "factor");
  const toml::node* classes = table.get("class");
  if (!classes) return;
  if (classes->is_string()) {
    if (as_string(*classes, "class") != "balanced")
      fail(*classes, "class is \"balanced\" or a number for each class");
    card_.balanced_classes = true;
    return;
  }
  for (const toml::node& weight : as_array(*classes, "class (\"balanced\" or numbers)")) {
    card_.class_weights.push_back(as_number(weight, "a class weight"));
  }
  if (card_.class_weights.size() != card_.classes.size()) {
    fail(*classes,
         fmt::format("{} weights for {} classes", card_.class_weights.size(), card_.classes.size()));
  }
}

void CardReader::read_split(const toml::table& table) {
  check_keys(table, "in [split]", {"by", "fractions"});
  if (const toml::node* by = table.get("by")) card_.split_by = as_expression(*by, "by");
  read_fractions(table, card_.valid_fraction);
}

/// Compiles every expression once, so that a mistake is reported with its line.
void CardReader::check_expressions() const {
  detail::CardExpressions names(card_);
  for (const auto& [place, text] : expressions_) {
    try {
      names.compile(text);
    } catch (const ConfigError& error) {
      fail(*place, error.message());
    }
  }
}

}  // namespace

Card parse_card(std::string_view toml, std::string_view origin) { return CardReader(toml, origin).read(); }

CardKind kind_of_text(std::string_view toml) {
  try {
    const toml::table root = toml::parse(toml);
    if (root.contains("shower")) return CardKind::showers;
    return root["kind"].value<std::string>() == "hits" ? CardKind::hits : CardKind::jets;
  } catch (const toml::parse_error&) {
    return CardKind::jets;  // whoever parses it says what is wrong
  }
}

}  // namespace bunchtrain::features
