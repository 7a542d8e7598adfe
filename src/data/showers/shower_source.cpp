// SPDX-License-Identifier: Apache-2.0
#include "shower_source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <span>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/wording.hpp"
#include "parallel_for.hpp"
#include "part_text.hpp"
#include "storage/opened_file.hpp"

namespace bunchtrain::data {
namespace {

// What a ratio outside the card's range probably means; empty if nothing comes to mind.
std::string explain_ratio(const features::ShowerCard& card, double ratio) {
  const auto inside = [&](double value) { return value >= card.ratio[0] && value <= card.ratio[1]; };
  const bool gev = card.energy.unit == "GeV", cells_gev = card.unit == "GeV";
  if (inside(ratio * 1000))
    return gev ? "the energies look like MeV: say unit = \"MeV\" in primary.energy of a copy of the card"
               : "the cells look like GeV: say unit = \"GeV\" in [shower] of a copy of the card";
  if (inside(ratio / 1000))
    return cells_gev
               ? "the cells look like MeV: say unit = \"MeV\" in [shower] of a copy of the card"
               : "the energies look like GeV: say unit = \"GeV\" in primary.energy of a copy of the card";
  if (inside(ratio / 50))
    return fmt::format("the cells look like {} x 50: say scale = {} in [shower] of a copy of the card",
                       card.unit, card.scale * 50);
  if (inside(ratio * 50))
    return fmt::format("the cells are not scaled by 50: say scale = {} in [shower] of a copy of the card",
                       card.scale / 50);
  return "check the units of cells and energies, then copy the card and set unit, scale or ratio";
}

std::string explain_scan(const features::ShowerScan& scan) {
  if (scan.negative > 0) return fmt::format("{} cells are negative", scan.negative);
  if (scan.not_finite > 0) return fmt::format("{} cells are NaN or infinite", scan.not_finite);
  return fmt::format("the cells add up to {} GeV, more than single precision holds", scan.sum);
}

template <class Values>
void append(Values& all, const Values& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

/// What is wrong with cells, over all ranges.
struct ShowerSource::Findings {
  std::mutex mutex;
  std::size_t showers = 0;
  std::size_t first_row = 0;
  features::ShowerScan first;

  void add(std::size_t row, const features::ShowerScan& scan) {
    const std::lock_guard lock(mutex);
    if (showers == 0 || row < first_row) {
      first_row = row;
      first = scan;
    }
    ++showers;
  }
};

ShowerSource::ShowerSource(const ShowerDatasetOptions& options,
                           const std::vector<std::filesystem::path>& paths, features::ShowerCard card)
    : selects_(options.select),
      engine_(io::choose_engine(options.io, paths)),
      pipeline_(std::move(card), options.physical),
      slab_begin_(options.slab_begin),
      slab_end_(options.slab_end > 0 ? options.slab_end : pipeline_.card().cells.front().shape[0]) {
  require_slab();
  for (const auto& path : paths) files_.emplace_back(path, pipeline_, engine_.engine);
  ranges_ = cut_rows(files_);
  for (const auto& file : files_)
    filled_rows_ += log_filled_rows(file.path(), file.rows(), file.filled_rows(), options.logger);
  collect_numbers(options.logger);
  look_at_cells(options);
  require_showers();
  check_ratios(options.logger);
  take_fingerprint(options.hash_data);
}

void ShowerSource::require_slab() const {
  const auto& cells = pipeline_.card().cells;
  const std::int64_t x = cells.front().shape[0];
  const bool is_all = slab_begin_ == 0 && slab_end_ == x;
  if (is_all || (cells.size() == 1 && 0 <= slab_begin_ && slab_begin_ < slab_end_ && slab_end_ <= x)) return;
  throw ConfigError(
      "slab", fmt::format("cells {} to {} along x", slab_begin_, slab_end_),
      cells.size() > 1
          ? fmt::format("all cells, for card '{}' has {} blocks of them", pipeline_.card().name, cells.size())
          : fmt::format("a range of the {} cells of card '{}'", x, pipeline_.card().name));
}

CellStretch ShowerSource::image_cells() const noexcept {
  const auto& cells = pipeline_.card().cells;
  if (cells.size() > 1) return files_.front().all_cells();
  const std::int64_t plane = cells.front().shape[1] * cells.front().shape[2];
  return {static_cast<std::size_t>(slab_begin_ * plane), static_cast<std::size_t>(image_x() * plane)};
}

std::size_t ShowerSource::file_of(std::size_t row) const noexcept {
  const auto after = std::upper_bound(first_rows_.begin(), first_rows_.end(), row);
  return static_cast<std::size_t>(after - first_rows_.begin()) - 1;
}

void ShowerSource::collect_numbers(const Logger& logger) {
  for (const auto& file : files_) {
    first_rows_.push_back(energies_.size());
    append(energies_, file.energies());
    const bool measures = has_angle() && file.measured_thetas().empty();
    measures_.push_back(measures);
    if (!has_angle()) continue;
    const std::vector<float> unknown(file.rows(), 0.0f);
    append(measured_, measures ? unknown : file.measured_thetas());
    append(thetas_, file.thetas().empty() ? (measures ? unknown : file.measured_thetas()) : file.thetas());
    if (measures)
      logger.info(fmt::format("{}: has no measured angle; it is measured from the images{}", file.path(),
                              file.thetas().empty() ? " and stands for the true one too" : ""));
  }
  sums_.assign(energies_.size(), kLeftOut);
}

// A full pass, not a sample: which showers are selected decides how many samples there are, and a negative
// cell found in the tenth hour costs more than the pass (docs/design/006-shower-data.md).
void ShowerSource::look_at_cells(const ShowerDatasetOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  Findings findings;
  for_each_index(ranges_.size(), options.threads,
                 [&](std::size_t range) { look_at_range(ranges_[range], findings); });
  if (findings.showers > 0) {
    const std::size_t file = file_of(findings.first_row);
    throw DataError(
        fmt::format("{}, row {}: {} ({} of {} showers are like that); energies of cells are 0 or above: "
                    "write the file again, with noise and pedestals cut away",
                    files_[file].path(), findings.first_row - first_rows_[file], explain_scan(findings.first),
                    findings.showers, rows()));
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  const double gigabytes =
      4e-9 * static_cast<double>(rows()) * static_cast<double>(pipeline_.card().num_cells());
  const auto left_out = std::count(sums_.begin(), sums_.end(), kLeftOut);
  options.logger.info(
      fmt::format("looked at {} showers ({:.2f} GB of cells) in {:.2f} s, {:.1f} GB/s with {} threads; {} "
                  "left out (sum of {} "
                  "GeV or less)",
                  rows(), gigabytes, taken.count(), gigabytes / std::max(taken.count(), 1e-9),
                  options.threads, left_out, pipeline_.card().minimum_sum));
}

// Ranges do not overlap, so that threads write to different rows.
void ShowerSource::look_at_range(const RowRange& range, Findings& findings) {
  const auto cells_per_row = static_cast<std::size_t>(pipeline_.card().num_cells());
  files_[range.file].read(range.first, range.count,
                          [&](std::size_t first, std::size_t rows, const float* cells) {
                            for (std::size_t i = 0; i < rows; ++i) {
                              const std::size_t row = range.first_row + first + i;
                              const auto scan = pipeline_.scan({cells + i * cells_per_row, cells_per_row});
                              if (!scan.is_sound() || !pipeline_.fits_image(scan.sum))
                                findings.add(row, scan);
                              if (!selects_ || pipeline_.keeps(scan.sum))
                                sums_[row] = static_cast<float>(scan.sum);
                            }
                            if (!measures_[range.file]) return;
                            const auto angles = pipeline_.measure_angles({cells, rows * cells_per_row});
                            const auto at = static_cast<std::ptrdiff_t>(range.first_row + first);
                            std::copy(angles.begin(), angles.end(), measured_.begin() + at);
                            if (files_[range.file].thetas().empty())
                              std::copy(angles.begin(), angles.end(), thetas_.begin() + at);
                          });
}

void ShowerSource::require_showers() const {
  if (std::any_of(sums_.begin(), sums_.end(), [](float sum) { return sum != kLeftOut; })) return;
  const auto& card = pipeline_.card();
  throw DataError(fmt::format(
      "{}: none of the {} showers holds more than {} GeV in cells of at least {} GeV: they are empty, or the "
      "unit or scale of card '{}' is not that of the file; look at it with {}",
      files_.front().path(), rows(), card.minimum_sum, card.threshold, card.name,
      way_to(Advice::look_at_data, files_.front().path())));
}

RowCounts ShowerSource::counts() const noexcept {
  return {.stored = static_cast<std::int64_t>(sums_.size()),
          .empty = std::count(sums_.begin(), sums_.end(), kLeftOut)};
}

double ShowerSource::median_ratio(std::size_t file) const {
  std::vector<double> ratios;
  for (std::size_t row = first_rows_[file]; row < first_rows_[file] + files_[file].rows(); ++row)
    if (kept(row) && pipeline_.keeps(sums_[row]))
      ratios.push_back(static_cast<double>(sums_[row]) / energies_[row]);
  if (ratios.empty()) return 0;
  const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
  std::nth_element(ratios.begin(), middle, ratios.end());
  return *middle;
}

// Showers that are judged as they are may be wrong in this, too: the comparison says how wrong.
void ShowerSource::check_ratios(const Logger& logger) const {
  const auto& card = pipeline_.card();
  for (std::size_t file = 0; file < files_.size(); ++file) {
    const double ratio = median_ratio(file);
    if (ratio == 0 || (ratio >= card.ratio[0] && ratio <= card.ratio[1])) continue;
    const std::string message = fmt::format(
        "{}: the sum of cells is {:.3g} of the energy in the middle, card '{}' expects {} to {}; {}",
        files_[file].path(), ratio, card.name, card.ratio[0], card.ratio[1], explain_ratio(card, ratio));
    if (selects_) throw DataError(message);
    logger.warning(message);
  }
}

void ShowerSource::take_fingerprint(bool hash_data) {
  Hasher hasher;
  for (const auto& file : files_) {
    const auto files = file.identities(hash_data);
    add_identity(files.front(), hasher);
    identities_.insert(identities_.end(), files.begin(), files.end());
  }
  for (const auto* values : {&energies_, &thetas_, &measured_, &sums_})
    hasher.update(std::as_bytes(std::span(*values)));
  fingerprint_ = hasher.hex();
}

}  // namespace bunchtrain::data
