// SPDX-License-Identifier: Apache-2.0
// How cards of showers fit a file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "bunchtrain/features/recognition.hpp"
#include "cards/dataset_shapes.hpp"

namespace bunchtrain::features {
namespace {

using detail::find_dataset;
using detail::is_number;
using detail::shape_text;

/// The extents behind the showers, without those of 1, which some writers add.
std::vector<std::int64_t> significant(std::span<const std::int64_t> extents) {
  std::vector<std::int64_t> kept;
  std::ranges::copy_if(extents, std::back_inserter(kept), [](std::int64_t extent) { return extent != 1; });
  return kept;
}

std::int64_t cells_in(const CellBlock& block) { return block.shape[0] * block.shape[1] * block.shape[2]; }

/// Whether a row of `dataset` holds the cells of `blocks`: as their one grid, or flat.
bool holds(const DatasetShape& dataset, const std::vector<const CellBlock*>& blocks) {
  std::int64_t cells = 0;
  for (const CellBlock* block : blocks) cells += cells_in(*block);
  const auto extents = significant(std::span(dataset.shape).subspan(1));
  if (extents.size() == 1) return extents.front() == cells;
  return blocks.size() == 1 && extents == significant(blocks.front()->shape);
}

std::string grid_text(const std::vector<const CellBlock*>& blocks) {
  std::vector<std::string> grids;
  for (const CellBlock* block : blocks) grids.push_back(fmt::format("{}", fmt::join(block->shape, " x ")));
  return fmt::format("{}", fmt::join(grids, " + "));
}

/// Collects what a card finds and misses.
class ShowerFit {
 public:
  ShowerFit(const ShowerCard& card, std::span<const DatasetShape> datasets)
      : datasets_(datasets),
        fit_{.card = card.name, .matched = {}, .problems = {}, .kind = CardKind::showers} {
    std::map<std::string, std::vector<const CellBlock*>> blocks;
    for (const CellBlock& block : card.cells) blocks[block.dataset].push_back(&block);
    for (const CellBlock& block : card.cells)
      if (const auto all = blocks.extract(block.dataset)) judge_cells(all.key(), all.mapped());
    judge_column(card.energy, true);
    judge_column(card.theta, false);
    judge_column(card.measured_theta, false);
  }

  CardFit result() && { return std::move(fit_); }

 private:
  void judge_cells(const std::string& name, const std::vector<const CellBlock*>& blocks) {
    const DatasetShape* dataset = find_dataset(datasets_, name);
    if (!dataset) return complain(fmt::format("{} is missing", name));
    if (!is_number(dataset->kind)) return complain(fmt::format("{} holds no numbers", name));
    if (dataset->shape.empty() || !holds(*dataset, blocks))
      return complain(
          fmt::format("{}, the card reads showers of {} cells", shape_text(*dataset), grid_text(blocks)));
    match(*dataset);
  }

  void judge_column(const ShowerColumn& column, bool required) {
    for (const std::string& text : column.from) {
      const ColumnPlace place = place_of(text);
      const DatasetShape* dataset = find_dataset(datasets_, place.dataset);
      if (!dataset) continue;
      const auto extents = dataset->shape.empty() ? std::vector<std::int64_t>{0}
                                                  : significant(std::span(dataset->shape).subspan(1));
      const bool fits =
          place.column < 0 ? extents.empty() : extents.size() == 1 && place.column < extents.front();
      if (is_number(dataset->kind) && fits) return match(*dataset);
      return complain(
          fmt::format("{}, the card reads one number per shower as {}", shape_text(*dataset), text));
    }
    if (required) complain(fmt::format("{} is missing", fmt::join(column.from, " or ")));
  }

  void match(const DatasetShape& dataset) {
    if (rows_ < 0) rows_ = dataset.shape.front();
    if (dataset.shape.front() != rows_)
      return complain(
          fmt::format("{} has {} rows, other datasets have {}", dataset.name, dataset.shape.front(), rows_));
    fit_.matched.push_back(dataset.name);
  }

  void complain(std::string problem) { fit_.problems.push_back(std::move(problem)); }

  std::span<const DatasetShape> datasets_;
  CardFit fit_;
  std::int64_t rows_ = -1;
};

}  // namespace

CardFit fit_card(const ShowerCard& card, std::span<const DatasetShape> datasets) {
  return ShowerFit(card, datasets).result();
}

}  // namespace bunchtrain::features
