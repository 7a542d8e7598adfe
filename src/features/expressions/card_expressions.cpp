// SPDX-License-Identifier: Apache-2.0
#include "card_expressions.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/nearest.hpp"
#include "expression_parser.hpp"
#include "units.hpp"

namespace bunchtrain::features::detail {
namespace {

std::string with_prefix(const CardWords& words, bool per_particle, std::string_view column) {
  return fmt::format("{}{}", per_particle ? words.element_prefix : words.sample_prefix, column);
}

double factor_of(std::string_view unit, std::string_view column) {
  if (const auto factor = unit_factor(unit)) return *factor;
  throw ConfigError(fmt::format("unit \"{}\" of {} does not convert; known: {}", unit, column,
                                fmt::join(known_units(), " ")));
}

}  // namespace

CardExpressions::CardExpressions(const Card& card) : words_(words_of(card.kind)) {
  for (const ReadSource& source : card.sources) add_source(source);
  for (const auto& [name, expression] : card.define) {
    if (!is_name(name) ||
        !(name.starts_with(words_.sample_prefix) || name.starts_with(words_.element_prefix))) {
      throw ConfigError(fmt::format("definition \"{}\": a name begins with \"{}\" or \"{}\"", name,
                                    words_.sample_prefix, words_.element_prefix));
    }
    add_name(name, "defined");
    definitions_.emplace(name, expression);
  }
}

void CardExpressions::add_source(const ReadSource& source) {
  const auto all = source.units.find("*");
  const double common = all == source.units.end() ? 1 : factor_of(all->second, source.dataset);
  for (const std::string& column : source.columns) {
    const std::string name = with_prefix(words_, source.per_particle, column);
    add_name(name, "read");
    const auto unit = source.units.find(column);
    columns_.emplace(name, unit == source.units.end() ? common : factor_of(unit->second, name));
  }
  if (source.columns.empty()) add_open_source(source, common);
  for (const auto& [column, unit] : source.units) {
    if (column == "*") continue;
    const std::string name = with_prefix(words_, source.per_particle, column);
    if (source.columns.empty()) {
      open_units_.emplace(name, factor_of(unit, name));
    } else if (std::ranges::find(source.columns, column) == source.columns.end()) {
      throw ConfigError(fmt::format("unit of \"{}\": {} has no such column; its columns: {}", column,
                                    source.dataset, fmt::join(source.columns, ", ")));
    }
  }
}

void CardExpressions::add_open_source(const ReadSource& source, double common) {
  OpenSources& open = source.per_particle ? open_particle_ : open_jet_;
  if (++open.count > 1 && (common != 1 || open.factor != 1))
    throw ConfigError(
        fmt::format("one unit for all columns of {}: list its \"columns\", there is another source without a "
                    "list, and nothing says which of them a column comes from",
                    source.dataset));
  open.factor = common;
}

void CardExpressions::add_name(const std::string& name, std::string_view what) {
  if (columns_.contains(name) || definitions_.contains(name)) {
    throw ConfigError(fmt::format("{} is {} here but exists already; every name is given once", name, what));
  }
}

bool CardExpressions::certainly_knows(std::string_view name) const {
  return columns_.contains(name) || definitions_.contains(name);
}

bool CardExpressions::knows(std::string_view name) const {
  return certainly_knows(name) || (open_jet_.count > 0 && name.starts_with(words_.sample_prefix)) ||
         (open_particle_.count > 0 && name.starts_with(words_.element_prefix));
}

int CardExpressions::compile(std::string_view expression) {
  return parse_expression(expression, graph_, [this](std::string_view name) { return resolve(name); });
}

int CardExpressions::resolve(std::string_view name) {
  if (const auto known = resolved_.find(name); known != resolved_.end()) return known->second;
  const auto definition = definitions_.find(name);
  const int node = definition == definitions_.end()
                       ? resolve_column(name)
                       : resolve_definition(definition->first, definition->second);
  resolved_.emplace(std::string(name), node);
  return node;
}

int CardExpressions::resolve_column(std::string_view name) {
  if (name == kFileLabel) return graph_.column(Level::jet, kFileColumn);
  if (!knows(name)) fail_unknown(name);
  const bool per_particle = name.starts_with(words_.element_prefix);
  const Level level = per_particle ? Level::particle : Level::jet;
  const int column =
      graph_.column(level, name.substr((per_particle ? words_.element_prefix : words_.sample_prefix).size()));
  double factor = (per_particle ? open_particle_ : open_jet_).factor;
  if (const auto known = columns_.find(name); known != columns_.end()) factor = known->second;
  if (const auto known = open_units_.find(name); known != open_units_.end()) factor = known->second;
  return factor == 1 ? column : graph_.apply(Op::multiply, column, graph_.constant(factor));
}

int CardExpressions::resolve_definition(const std::string& name, const std::string& expression) {
  if (std::ranges::find(in_progress_, name) != in_progress_.end()) {
    throw ConfigError(
        fmt::format("definitions go in a circle: {} -> {}", fmt::join(in_progress_, " -> "), name));
  }
  constexpr std::size_t kDeepest = 64;
  if (in_progress_.size() == kDeepest) {
    throw ConfigError(
        fmt::format("definition of {}: more than {} definitions build on each other", name, kDeepest));
  }
  in_progress_.push_back(name);
  const int node = compile(expression);
  in_progress_.pop_back();
  if (name.starts_with(words_.sample_prefix) && graph_.node(node).level == Level::particle) {
    throw ConfigError(fmt::format("{} = \"{}\" varies over {}s; call it {}* or take its sum()", name,
                                  expression, words_.element, words_.element_prefix));
  }
  return node;
}

void CardExpressions::fail_unknown(std::string_view name) const {
  std::vector<std::string> names;
  for (const auto& [column, factor] : columns_) {
    const std::size_t dot = column.find('.') + 1;  // as it is to be written, quotes included
    names.push_back(column.substr(0, dot) + quote_column(std::string_view(column).substr(dot)));
  }
  for (const auto& [defined, expression] : definitions_) names.push_back(defined);
  const std::string near = nearest(name, names);
  throw ConfigError(fmt::format("unknown name \"{}\"{}; known: {}", name,
                                near.empty() ? "" : fmt::format(", did you mean \"{}\"", near),
                                fmt::join(names, ", ")));
}

}  // namespace bunchtrain::features::detail
