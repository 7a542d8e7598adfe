// SPDX-License-Identifier: Apache-2.0
// Cards of showers as TOML text.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bunchtrain/features/shower_card.hpp"
#include "cards/place_text.hpp"
#include "cards/toml_text.hpp"

namespace bunchtrain::features {
namespace {

using detail::toml_number;
using detail::toml_quote;

template <std::size_t Count>
std::string numbers_text(const std::array<double, Count>& values) {
  std::vector<std::string> texts;
  for (const double value : values) texts.push_back(toml_number(value));
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

std::string column_text(std::string_view name, const ShowerColumn& column) {
  if (column.from.empty()) return {};
  return fmt::format("{} = {{ from = {}, unit = {} }}\n", name, detail::toml_list(column.from),
                     toml_quote(column.unit));
}

}  // namespace

std::string to_toml(const ShowerCard& card) {
  std::string text = fmt::format("card = 1\nname = {}\n", toml_quote(card.name));
  if (card.fill_missing) text += "missing = \"fill\"\n";
  text += "\n[shower]\ncells = [\n";
  for (const CellBlock& block : card.cells)
    text += fmt::format("  {{ from = {}, shape = [{}] }},\n", toml_quote(detail::quote_name(block.dataset)),
                        fmt::join(block.shape, ", "));
  text += fmt::format("]\naxes = \"{}\"\n", card.axes == CellAxes::cartesian ? "cartesian" : "cylindrical");
  text += fmt::format("pitch = {}\n", numbers_text(card.pitch));
  text += fmt::format("unit = {}\nscale = {}\n", toml_quote(card.unit), toml_number(card.scale));
  text += fmt::format("threshold = {}\nminimum_sum = {}\n", toml_number(card.threshold),
                      toml_number(card.minimum_sum));
  text += fmt::format("ratio = {}\n", numbers_text(card.ratio));
  text += "\n[primary]\n";
  text += column_text("energy", card.energy);
  text += column_text("theta", card.theta);
  text += column_text("measured_theta", card.measured_theta);
  text += fmt::format("\n[image]\nscale = {}\npower = {}\n", toml_number(card.image_scale),
                      toml_number(card.image_power));
  text += fmt::format("\n[split]\nby = \"{}\"\nfractions = {{ valid = {} }}\n",
                      card.split_by_file ? "file" : "shower", toml_number(card.valid_fraction));
  return text;
}

}  // namespace bunchtrain::features
