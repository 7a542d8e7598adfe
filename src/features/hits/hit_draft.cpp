// SPDX-License-Identifier: Apache-2.0
#include "hits/hit_draft.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <vector>

#include "cards/dataset_shapes.hpp"
#include "cards/place_text.hpp"
#include "cards/toml_text.hpp"
#include "expressions/expression_parser.hpp"

namespace bunchtrain::features::detail {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool has_word(const std::string& name, std::span<const std::string_view> words) {
  const std::string text = lower(name);
  return std::ranges::any_of(words,
                             [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

bool is_row_splits(const DatasetShape& dataset) {
  static constexpr std::array<std::string_view, 3> kWords = {"split", "offset", "indptr"};
  return dataset.kind == ElementKind::integer && dataset.shape.size() == 1 && dataset.shape.front() > 1 &&
         has_word(dataset.name, kWords);
}

bool is_event_number(const MemberShape& member) {
  static constexpr std::array<std::string_view, 2> kWords = {"event", "evt"};
  return member.kind == ElementKind::integer && member.values == 1 && has_word(member.name, kWords);
}

/// One row per element: numbers [rows], [rows, columns], or a compound [rows].
bool is_table(const DatasetShape& dataset) {
  if (dataset.kind == ElementKind::compound) return dataset.shape.size() == 1;
  return is_number(dataset.kind) && (dataset.shape.size() == 1 || dataset.shape.size() == 2);
}

/// The last part of a path, as a name of columns.
std::string stem_of(const std::string& dataset) { return dataset.substr(dataset.find_last_of('/') + 1); }

/// Sources and inputs of a card, column by column.
class HitDraft {
 public:
  void add(const DatasetShape& dataset, bool of_hits, const std::string& without = {}) {
    const std::string from = toml_quote(quote_name(dataset.name));
    std::vector<std::string> columns;
    if (dataset.kind == ElementKind::compound) {
      for (const MemberShape& member : dataset.members)
        if (is_number(member.kind) && member.values == 1 && member.name != without)
          columns.push_back(member.name);
    } else if (dataset.shape.size() == 1 || dataset.shape.back() == 1) {
      columns.push_back(stem_of(dataset.name));
    } else {
      for (std::int64_t i = 0; i < dataset.shape.back(); ++i)
        columns.push_back(fmt::format("{}_{}", stem_of(dataset.name), i));
    }
    std::erase_if(columns, [&](const std::string& column) { return !taken_[of_hits].insert(column).second; });
    const bool folded = dataset.kind != ElementKind::compound && dataset.shape.size() == 2 &&
                        static_cast<std::int64_t>(columns.size()) != dataset.shape.back();
    if (columns.empty() || folded) return;
    sources_ += fmt::format("\n[[read.{}]]\nfrom = {}\ncolumns = {}\n", of_hits ? "hit" : "event", from,
                            toml_list(columns));
    if (!of_hits) return;
    for (const std::string& column : columns)
      inputs_ += fmt::format("  [{}, \"auto\"],\n", toml_quote("hit." + quote_column(column)));
  }

  std::string text(std::string_view file, std::string_view layout) const {
    if (inputs_.empty()) return {};
    return fmt::format(
        "# Draft of a card of hits for {}: look at names, units, inputs and labels.\ncard = 1\nkind = \"hits\"\n\n"
        "[layout]\n{}{}\n# unit = {{ energy = \"MeV\" }} under a source: what is not in GeV, mm, rad\n\n"
        "[inputs]\nfeatures = [\n{}]\n\n# [label]\n# of = \"hit.NAME\"\n# classes = [[\"noise\", 0], "
        "[\"signal\", 1]]\n",
        file, layout, sources_, inputs_);
  }

 private:
  std::string sources_, inputs_;
  std::map<bool, std::set<std::string>> taken_;
};

/// The number of rows that most tables have, events and row splits aside.
std::int64_t rows_of_hits(std::span<const DatasetShape> datasets, std::int64_t events) {
  std::map<std::int64_t, int> tables;
  for (const DatasetShape& dataset : datasets)
    if (is_table(dataset) && dataset.shape.front() != events && dataset.shape.front() != events + 1)
      ++tables[dataset.shape.front()];
  const auto most = std::ranges::max_element(tables, {}, [](const auto& entry) { return entry.second; });
  return most == tables.end() ? -1 : most->first;
}

}  // namespace

std::string draft_hits(std::span<const DatasetShape> datasets, std::string_view file) {
  const auto splits = std::ranges::find_if(datasets, is_row_splits);
  if (splits == datasets.end()) return {};
  const std::int64_t events = splits->shape.front() - 1, hits = rows_of_hits(datasets, events);
  HitDraft draft;
  for (const DatasetShape& dataset : datasets) {
    if (!is_table(dataset)) continue;
    if (dataset.shape.front() == hits) draft.add(dataset, true);
    if (dataset.shape.front() == events) draft.add(dataset, false);
  }
  return draft.text(file,
                    fmt::format("type = \"csr\"\nrow_splits = {}\n", toml_quote(quote_name(splits->name))));
}

std::string draft_flat_hits(std::span<const DatasetShape> datasets, std::string_view file) {
  for (const DatasetShape& dataset : datasets) {
    if (dataset.kind != ElementKind::compound || dataset.shape.size() != 1) continue;
    const auto number = std::ranges::find_if(dataset.members, is_event_number);
    if (number == dataset.members.end()) continue;
    HitDraft draft;
    draft.add(dataset, true, number->name);
    return draft.text(file,
                      fmt::format("type = \"flat\"\nevent = {}\n",
                                  toml_quote(quote_name(dataset.name) + ":" + quote_name(number->name))));
  }
  return {};
}

}  // namespace bunchtrain::features::detail
