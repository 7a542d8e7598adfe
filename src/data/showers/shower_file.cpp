// SPDX-License-Identifier: Apache-2.0
#include "shower_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/features/recognition.hpp"
#include "card_recognition.hpp"
#include "io/slab.hpp"
#include "storage/contents_of.hpp"

namespace bunchtrain::data {
namespace {

// Enough that the bookkeeping of a range does not count, little beside a loader's prefetch.
constexpr std::size_t kSmallestRangeBytes = std::size_t{512} << 10;

bool is_native_float(const ElementType& type) {
  return type.kind == ElementType::Kind::floating && type.bytes == sizeof(float) &&
         type.big_endian == (std::endian::native == std::endian::big);
}

// The values of `rows` rows as floats: as they lie there if they are floats, else widened into `scratch`.
const float* as_floats(const ColumnLayout& layout, const std::byte* bytes, std::size_t rows,
                       std::vector<float>& scratch) {
  const bool aligned = std::bit_cast<std::uintptr_t>(bytes) % alignof(float) == 0;
  if (is_native_float(layout.type) && aligned) return reinterpret_cast<const float*>(bytes);
  scratch.resize(rows * layout.slots);
  widen(layout, bytes, rows, scratch.data());
  return scratch.data();
}

std::size_t values_per_row(const DatasetLayout& layout) { return layout.row_bytes() / layout.element_bytes; }

}  // namespace

ShowerFile::ShowerFile(const std::filesystem::path& path, const features::ShowerPipeline& pipeline,
                       const io::Engine* engine)
    : file_(path, engine),
      fill_missing_(pipeline.card().fill_missing),
      num_cells_(static_cast<std::size_t>(pipeline.card().num_cells())) {
  const features::ShowerCard& card = pipeline.card();
  check_fit(card);
  open_cells(card);
  energies_ = read_column(card.energy, pipeline.energy_factor());
  thetas_ = read_column(card.theta, pipeline.theta_factor());
  measured_thetas_ = read_column(card.measured_theta, pipeline.measured_theta_factor());
  check_numbers();
  choose_range();
  file_.close();
}

void ShowerFile::check_fit(const features::ShowerCard& card) const {
  const auto contents = contents_of(file_.file(), path());
  const auto fit = features::fit_card(card, shapes_of(contents));
  if (fit.fits()) return;
  throw DataError(fmt::format("{}: card '{}' does not fit: {}; datasets present: {}.{}", path(), card.name,
                              fmt::join(fit.problems, "; "), list_contents(contents),
                              suggest_card(file_.file(), path(), card.name)));
}

// Blocks of one dataset lie in its rows one behind the other.
void ShowerFile::open_cells(const features::ShowerCard& card) {
  std::size_t first_cell = 0;
  for (const auto& block : card.cells) {
    const bool known = std::any_of(cells_.begin(), cells_.end(), [&](const Cells& cells) {
      return cells.dataset.layout().name == block.dataset;
    });
    if (known) continue;
    StoredDataset dataset = file_.open(block.dataset, fill_missing_);
    const DatasetLayout& layout = dataset.layout();
    if (layout.rows() == 0)
      throw DataError(
          fmt::format("{}: is empty (0 showers); leave the file out or write it again", dataset.where()));
    const ColumnLayout columns{.type = layout.type.value(),
                               .row_bytes = layout.row_bytes(),
                               .offset = 0,
                               .slot_bytes = layout.element_bytes,
                               .slots = values_per_row(layout)};
    cells_.push_back({std::move(dataset), columns, first_cell});
    first_cell += columns.slots;
  }
}

// From the first of its places that the file has; nothing if it has none.
std::vector<float> ShowerFile::read_column(const features::ShowerColumn& column, double factor) {
  for (const auto& text : column.from) {
    const auto place = features::place_of(text);
    if (!file_.has(place.dataset)) continue;
    const StoredDataset& dataset = columns_.emplace_back(file_.open(place.dataset, fill_missing_));
    const DatasetLayout& layout = dataset.layout();
    const std::size_t index = place.column < 0 ? 0 : static_cast<std::size_t>(place.column);
    const ColumnLayout number{.type = layout.type.value(),
                              .row_bytes = layout.row_bytes(),
                              .offset = index * layout.element_bytes,
                              .slot_bytes = 0,
                              .slots = 1};
    std::vector<double> wide(layout.rows());
    dataset.read(0, wide.size(), [&](std::size_t first, std::size_t rows, const std::byte* bytes) {
      widen(number, bytes, rows, wide.data() + first);
    });
    std::vector<float> values;
    values.reserve(wide.size());
    for (const double value : wide) values.push_back(static_cast<float>(value * factor));
    return values;
  }
  return {};
}

void ShowerFile::check_numbers() const {
  for (std::size_t row = 0; row < energies_.size(); ++row)
    if (!(std::isfinite(energies_[row]) && energies_[row] > 0))
      throw DataError(fmt::format(
          "{}, row {}: the primary energy is {} GeV, it must be finite and above 0; leave the shower "
          "out of the file, or name another dataset in primary.energy of the card",
          path(), row, energies_[row]));
  for (const auto* angles : {&thetas_, &measured_thetas_})
    for (std::size_t row = 0; row < angles->size(); ++row)
      if (!std::isfinite((*angles)[row]))
        throw DataError(
            fmt::format("{}, row {}: the angle is {}; leave the shower out of the file, or take "
                        "the angle out of [primary] of the card: it is then measured",
                        path(), row, (*angles)[row]));
}

void ShowerFile::choose_range() {
  const std::size_t row_bytes = num_cells_ * sizeof(float);
  const std::size_t chunk = cells_.front().dataset.rows_per_chunk();
  const std::size_t chunks = (kSmallestRangeBytes + chunk * row_bytes - 1) / (chunk * row_bytes);
  rows_per_range_ = chunk * chunks;
}

RowPart ShowerFile::part_of(const CellStretch& cells) const {
  const ColumnLayout& layout = cells_.front().layout;
  return {.row_bytes = layout.row_bytes,
          .offset = cells.first * layout.slot_bytes,
          .bytes = cells.count * layout.slot_bytes};
}

void ShowerFile::plan(std::size_t first, std::size_t count, const CellStretch& wanted, ReadPlan& plan) const {
  if (wanted.count < num_cells_)
    return cells_.front().dataset.plan_parts(first, count, part_of(wanted), plan);
  for (const Cells& cells : cells_) cells.dataset.plan(first, count, plan);
}

void ShowerFile::read(std::size_t first, std::size_t count, const CellSink& sink) const {
  ReadPlan wanted;
  plan(first, count, all_cells(), wanted);
  PlannedBytes bytes = io::thread_slab().fetch(wanted);
  decode(first, count, all_cells(), bytes, sink);
}

void ShowerFile::decode_stretch(std::size_t first, std::size_t count, const CellStretch& wanted,
                                PlannedBytes& bytes, const CellSink& sink) const {
  const Cells& cells = cells_.front();
  const RowPart part = part_of(wanted);
  ColumnLayout layout = cells.layout;
  layout.row_bytes = part.bytes;
  layout.slots = wanted.count;
  cells.dataset.decode_parts(first, count, part, bytes,
                             [&](std::size_t at, std::size_t rows, const std::byte* values) {
                               thread_local std::vector<float> widened;
                               sink(at, rows, as_floats(layout, values, rows, widened));
                             });
}

void ShowerFile::decode(std::size_t first, std::size_t count, const CellStretch& wanted, PlannedBytes& bytes,
                        const CellSink& sink) const {
  if (wanted.count < num_cells_) return decode_stretch(first, count, wanted, bytes, sink);
  if (cells_.size() > 1) return assemble(first, count, bytes, sink);
  const Cells& cells = cells_.front();
  cells.dataset.decode(first, count, bytes, [&](std::size_t at, std::size_t rows, const std::byte* values) {
    thread_local std::vector<float> widened;
    sink(at, rows, as_floats(cells.layout, values, rows, widened));
  });
}

void ShowerFile::assemble(std::size_t first, std::size_t count, PlannedBytes& bytes,
                          const CellSink& sink) const {
  thread_local std::vector<float> showers, widened;
  showers.resize(count * num_cells_);
  for (const Cells& cells : cells_) {
    const std::size_t width = cells.layout.slots;
    cells.dataset.decode(first, count, bytes, [&](std::size_t at, std::size_t rows, const std::byte* stored) {
      const float* values = as_floats(cells.layout, stored, rows, widened);
      for (std::size_t row = 0; row < rows; ++row)
        std::copy_n(values + row * width, width, showers.data() + (at + row) * num_cells_ + cells.first_cell);
    });
  }
  sink(0, count, showers.data());
}

std::vector<const StoredDataset*> ShowerFile::all_datasets() const {
  std::vector<const StoredDataset*> datasets;
  for (const auto& cells : cells_) datasets.push_back(&cells.dataset);
  for (const auto& column : columns_) datasets.push_back(&column);
  return datasets;
}

RowSpans ShowerFile::filled_rows() const {
  RowSpans rows;
  for (const StoredDataset* dataset : all_datasets()) {
    const RowSpans absent = dataset->absent_rows();
    rows.insert(rows.end(), absent.begin(), absent.end());
  }
  return normalised(std::move(rows));
}

std::vector<std::string> ShowerFile::paths() const {
  std::vector<std::string> lines;
  for (const StoredDataset* dataset : all_datasets())
    lines.push_back(fmt::format("{}: {}", dataset->layout().name, dataset->path_text()));
  return lines;
}

}  // namespace bunchtrain::data
