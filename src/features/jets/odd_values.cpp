// SPDX-License-Identifier: Apache-2.0
#include "odd_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "expressions/vector_math.hpp"

namespace bunchtrain::features::detail {
namespace {

bool is_odd(double value, const OddRules& rules) {
  if (std::isnan(value)) return !rules.nan_is_fine;
  return std::abs(value) > rules.largest;
}

bool has_row(const std::vector<OddValue>& odd, std::int64_t row) {
  return std::ranges::any_of(odd, [row](const OddValue& value) { return value.row == row; });
}

void add(std::vector<OddValue>& odd, OddValue value) {
  if (!has_row(odd, value.row)) odd.push_back(std::move(value));
}

void collect_jets(const std::string& column, const double* values, std::span<const std::int64_t> rows,
                  const OddRules& rules, std::vector<OddValue>& odd) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (is_odd(values[i], rules)) add(odd, {.row = rows[i], .column = column, .value = values[i]});
}

void collect_particles(const std::string& column, const float* values, std::span<const std::int64_t> rows,
                       const PackedRows& packed, const OddRules& rules, std::vector<OddValue>& odd) {
  if (is_sound_vector(values, packed.particles(), rules.nan_is_fine)) return;
  for (std::size_t row = 0; row < packed.rows(); ++row)
    for (auto i = static_cast<std::size_t>(packed.begin[row]);
         i < static_cast<std::size_t>(packed.begin[row + 1]); ++i)
      if (const double value = values[i]; is_odd(value, rules))
        add(odd, {.row = rows[row], .slot = packed.slot[i], .column = column, .value = value});
}

std::string value_text(double value) { return std::isnan(value) ? "NaN" : fmt::format("{}", value); }

std::string place_text(const Card& card, const RawColumns& raw, const OddValue& odd) {
  const std::string particle =
      odd.slot < 0 ? "" : fmt::format(", {} {}", words_of(card.kind).element, odd.slot);
  return fmt::format("{}, row {}{}: ", raw.file, raw.first_row + odd.row, particle);
}

std::string count_text(std::int64_t odd_rows, std::int64_t rows) {
  return fmt::format("{} of the {} rows read together have such values", odd_rows, rows);
}

std::string with_condition(const std::string& expression, const std::string& condition) {
  return expression.empty() ? condition : fmt::format("({}) & {}", expression, condition);
}

}  // namespace

void collect_odd(const Program& program, const std::vector<bool>& needed, std::span<const std::int64_t> rows,
                 const PackedRows& packed, Workspace& workspace, const OddRules& rules,
                 std::vector<OddValue>& odd) {
  const auto& columns = program.columns();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (!needed.empty() && !needed[i]) continue;
    if (columns[i].level == Level::jet)
      collect_jets(columns[i].full_name(), program.loaded_jets(i, workspace), rows, rules, odd);
    else
      collect_particles(columns[i].full_name(), program.loaded_particles(i, workspace), rows, packed, rules,
                        odd);
  }
}

MaskCheck::MaskCheck(const CompiledCard& compiled, const RawColumns& raw, bool nan_is_fine)
    : compiled_(compiled), raw_(raw), nan_is_fine_(nan_is_fine) {}

void MaskCheck::bind() {
  beside_.clear();
  for (const std::string& name : compiled_.beside_mask)
    if (const auto found = raw_.particle.find(name); found != raw_.particle.end())
      beside_.push_back(found->second.data());
}

void MaskCheck::collect(std::span<const std::int64_t> rows, const PackedRows& packed, Workspace& workspace,
                        std::vector<OddValue>& odd) const {
  const auto& columns = compiled_.mask.columns();
  std::size_t entries = 0;
  for (const std::int64_t row : rows) entries += static_cast<std::size_t>(raw_.slots_of(row));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].level == Level::jet) {
      collect_jets(columns[i].full_name(), compiled_.mask.loaded_jets(i, workspace), rows,
                   {.nan_is_fine = nan_is_fine_}, odd);
      continue;
    }
    const float* values = compiled_.mask.loaded_particles(i, workspace);
    if (!is_sound_vector(values, entries, nan_is_fine_)) collect_particles(i, rows, packed, values, odd);
  }
}

void MaskCheck::collect_particles(std::size_t column, std::span<const std::int64_t> rows,
                                  const PackedRows& packed, const float* values,
                                  std::vector<OddValue>& odd) const {
  const OddRules rules{.nan_is_fine = nan_is_fine_};
  const std::string name = compiled_.mask.columns()[column].full_name();
  for (std::size_t row = 0; row < rows.size(); values += raw_.slots_of(rows[row++])) {
    for (const std::int32_t slot : packed.slots_of(row))
      if (const double value = values[slot]; is_odd(value, rules))
        add(odd, {.row = rows[row], .slot = slot, .column = name, .value = value});
    if (const auto slot = find_hidden(rows[row], values); slot >= 0)
      add(odd,
          {.row = rows[row], .slot = slot, .column = name, .value = values[slot], .hidden_by_mask = true});
  }
}

/// The first slot whose value in the mask's column is NaN though it holds a particle; -1 if there is none.
/// Usually NaN pads all columns alike, which one comparison of two columns tells.
std::int32_t MaskCheck::find_hidden(std::int64_t row, const float* values) const {
  if (nan_is_fine_ || beside_.empty()) return -1;
  const float* first = beside_.front() + raw_.begin_of(row);
  const std::int64_t slots = raw_.slots_of(row);
  if (!has_nan_beside_number(values, first, static_cast<std::size_t>(slots))) return -1;
  for (std::int32_t slot = 0; slot < slots; ++slot)
    if (std::isnan(values[slot]) && holds_particle(row, slot)) return slot;
  return -1;
}

bool MaskCheck::holds_particle(std::int64_t row, std::int64_t slot) const {
  bool any = false;
  for (const float* column : beside_) {
    const float value = column[raw_.begin_of(row) + slot];
    if (!std::isfinite(value)) return false;
    any = any || value != 0;
  }
  return any;
}

std::string describe_odd_input(const Card& card, const RawColumns& raw, const OddValue& odd,
                               std::int64_t odd_rows, std::int64_t rows) {
  const CardWords& words = words_of(card.kind);
  const std::string column = column_text(card.kind, odd.column);
  std::string text = fmt::format("{}{} is {}", place_text(card, raw, odd), column, value_text(odd.value));
  if (odd.hidden_by_mask)
    text += fmt::format(
        ", so that the mask \"{}\" takes for padding what looks like a {} by its other "
        "columns",
        card.mask, words.element);
  text += fmt::format(" ({}). Repair the file, or ", count_text(odd_rows, rows));
  if (std::isnan(odd.value)) {
    return text + (odd.hidden_by_mask ? fmt::format("to leave such {}s out, ", words.element) : "") +
           fmt::format("paste under [{}] of the card:\n  nan = 0.0", words.section);
  }
  const std::string condition = fmt::format("abs({}) < 1e30", column);
  if (odd.slot >= 0)
    return text + fmt::format("leave such {}s out; paste under [{}] of the card:\n  mask = \"{}\"",
                              words.element, words.section, with_condition(card.mask, condition));
  return text + fmt::format(
                    "leave such {0} out; paste under [select] of the card:\n  {0} = \"{1}\"\n  "
                    "not_finite = \"drop\"",
                    words.selection, with_condition(card.select, condition));
}

std::string describe_odd_jet(const Card& card, const RawColumns& raw, const OddValue& odd,
                             std::int64_t odd_rows, std::int64_t rows, std::string_view use,
                             std::string_view expression) {
  const std::string what =
      odd.column == expression
          ? fmt::format("{} \"{}\"", use, expression)
          : fmt::format("{}, which {} \"{}\" reads,", column_text(card.kind, odd.column), use, expression);
  return fmt::format(
      "{}{} is {} ({}). Repair the file, or leave such {} out; paste under [select] of the "
      "card:\n  not_finite = \"drop\"",
      place_text(card, raw, odd), what, value_text(odd.value), count_text(odd_rows, rows),
      words_of(card.kind).selection);
}

}  // namespace bunchtrain::features::detail
