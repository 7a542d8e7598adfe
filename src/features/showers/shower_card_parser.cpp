// SPDX-License-Identifier: Apache-2.0
// TOML text to cards of showers.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/shower_card.hpp"
#include "cards/toml_reader.hpp"

namespace bunchtrain::features {
namespace {

/// Reads one card; every error names the line.
class ShowerCardReader : private detail::TomlReader {
 public:
  using TomlReader::TomlReader;

  ShowerCard read();

 private:
  void read_shower(const toml::table& table);
  CellBlock read_block(const toml::node& node) const;
  ShowerColumn read_column(const toml::node& node, std::string_view name, std::string_view unit) const;
  double number_or(const toml::table& table, std::string_view key, double otherwise) const;
  template <std::size_t Count>
  void read_numbers(const toml::table& table, std::string_view key, std::array<double, Count>& values) const;

  ShowerCard card_;
};

ShowerCard ShowerCardReader::read() {
  const toml::table root = parse();
  if (!root.contains("shower"))
    throw ConfigError(
        fmt::format("card {} has no table [shower]: a card of jets, train_particlenet reads it", origin()));
  check_keys(root, "at top level", {"card", "name", "missing", "shower", "primary", "image", "split"});
  card_.name = name_of(root);
  read_missing(root, card_.fill_missing);
  section(root, "shower", [&](const toml::table& table) { read_shower(table); });
  section(root, "primary", [&](const toml::table& table) {
    check_keys(table, "in [primary]", {"energy", "theta", "measured_theta"});
    const auto column = [&](std::string_view name, std::string_view unit, ShowerColumn& target) {
      if (const toml::node* node = table.get(name)) target = read_column(*node, name, unit);
    };
    column("energy", "GeV", card_.energy);
    column("theta", "rad", card_.theta);
    column("measured_theta", "rad", card_.measured_theta);
  });
  section(root, "image", [&](const toml::table& table) {
    check_keys(table, "in [image]", {"scale", "power"});
    card_.image_scale = number_or(table, "scale", card_.image_scale);
    card_.image_power = number_or(table, "power", card_.image_power);
  });
  section(root, "split", [&](const toml::table& table) {
    check_keys(table, "in [split]", {"by", "fractions"});
    if (const toml::node* by = table.get("by")) {
      const std::string choice = as_string(*by, "by");
      if (choice != "file" && choice != "shower")
        fail(*by, fmt::format("by = \"{}\": \"file\" or \"shower\"", choice));
      card_.split_by_file = choice == "file";
    }
    read_fractions(table, card_.valid_fraction);
  });
  return validated(std::move(card_));
}

void ShowerCardReader::read_shower(const toml::table& table) {
  check_keys(table, "in [shower]",
             {"cells", "axes", "pitch", "unit", "scale", "threshold", "minimum_sum", "ratio"});
  const toml::node* cells = table.get("cells");
  if (!cells) fail(table, "[shower] needs \"cells\": [{ from = \"ECAL\", shape = [25, 25, 25] }]");
  for (const toml::node& node : as_array(*cells, "cells")) card_.cells.push_back(read_block(node));
  if (const toml::node* axes = table.get("axes")) {
    const std::string choice = as_string(*axes, "axes");
    if (choice != "cartesian" && choice != "cylindrical")
      fail(*axes,
           fmt::format("axes = \"{}\": \"cartesian\" (x, y, z) or \"cylindrical\" (z, alpha, r)", choice));
    card_.axes = choice == "cartesian" ? CellAxes::cartesian : CellAxes::cylindrical;
  }
  if (const toml::node* unit = table.get("unit")) card_.unit = as_unit(*unit);
  card_.scale = number_or(table, "scale", card_.scale);
  card_.threshold = number_or(table, "threshold", card_.threshold);
  card_.minimum_sum = number_or(table, "minimum_sum", card_.minimum_sum);
  read_numbers(table, "pitch", card_.pitch);
  read_numbers(table, "ratio", card_.ratio);
}

CellBlock ShowerCardReader::read_block(const toml::node& node) const {
  const toml::table& table = as_table(node, "an entry of cells ({ from = \"ECAL\", shape = [25, 25, 25] })");
  check_keys(table, "in cells", {"from", "shape"});
  const toml::node* from = table.get("from");
  const toml::node* shape = table.get("shape");
  if (!from || !shape) fail(node, "an entry of cells needs \"from\" and \"shape\"");
  CellBlock block{.dataset = as_dataset(*from, "from"), .shape = {}};
  const toml::array& extents = as_array(*shape, "shape");
  if (extents.size() != block.shape.size())
    fail(*shape, fmt::format("shape has {} extents", block.shape.size()));
  for (std::size_t axis = 0; axis < extents.size(); ++axis)
    block.shape[axis] = as_integer(*extents.get(axis), "an extent");
  return block;
}

/// "energy", ["energy", "target[1]"] or { from = ..., unit = "MeV" }.
ShowerColumn ShowerCardReader::read_column(const toml::node& node, std::string_view name,
                                           std::string_view unit) const {
  ShowerColumn column{.from = {}, .unit = std::string(unit)};
  const toml::node* from = &node;
  if (const toml::table* table = node.as_table()) {
    check_keys(*table, fmt::format("in {}", name), {"from", "unit"});
    from = table->get("from");
    if (!from) fail(node, "\"from\" is missing: the name of a dataset");
    if (const toml::node* given = table->get("unit")) column.unit = as_unit(*given);
  }
  column.from = from->is_string() ? std::vector{as_string(*from, "from")} : as_strings(*from, "from");
  for (const std::string& place : column.from) {
    try {
      place_of(place);
    } catch (const ConfigError& error) {
      fail(*from, error.message());
    }
  }
  return column;
}

double ShowerCardReader::number_or(const toml::table& table, std::string_view key, double otherwise) const {
  const toml::node* node = table.get(key);
  return node ? as_number(*node, key) : otherwise;
}

template <std::size_t Count>
void ShowerCardReader::read_numbers(const toml::table& table, std::string_view key,
                                    std::array<double, Count>& values) const {
  const toml::node* node = table.get(key);
  if (!node) return;
  const toml::array& given = as_array(*node, key);
  if (given.size() != Count) fail(*node, fmt::format("{} has {} numbers", key, Count));
  for (std::size_t i = 0; i < Count; ++i) values[i] = as_number(*given.get(i), key);
}

}  // namespace

ShowerCard parse_shower_card(std::string_view toml, std::string_view origin) {
  return ShowerCardReader(toml, origin).read();
}

bool is_shower_card(std::string_view toml) {
  try {
    return toml::parse(toml).contains("shower");
  } catch (const toml::parse_error&) {
    return false;  // whoever parses it says what is wrong
  }
}

}  // namespace bunchtrain::features
