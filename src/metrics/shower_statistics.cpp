// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/shower_statistics.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "shower_sums.hpp"

namespace bunchtrain::metrics {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The bin that holds `value`, or nothing. The last bin holds its upper edge.
std::optional<std::size_t> find_bin(const std::vector<double>& edges, double value) {
  if (!(value >= edges.front() && value <= edges.back())) return std::nullopt;
  const auto above = std::upper_bound(edges.begin(), edges.end(), value);
  return std::min(static_cast<std::size_t>(above - edges.begin()), edges.size() - 1) - 1;
}

std::string energy_label(const std::vector<double>& edges, std::size_t bin) {
  return fmt::format("{:.4g}-{:.4g} GeV", edges[bin], edges[bin + 1]);
}

std::string theta_label(const std::vector<double>& edges, std::size_t bin) {
  const double degrees = 180 / std::numbers::pi;
  return fmt::format("{:.4g}-{:.4g} deg", edges[bin] * degrees, edges[bin + 1] * degrees);
}

/// One number per shower, or none at all.
class Column {
 public:
  Column(const at::Tensor& tensor, std::int64_t showers, const char* name) {
    if (!tensor.defined()) return;
    if (tensor.numel() != showers) {
      throw ConfigError(fmt::format("{} holds {} numbers for {} showers", name, tensor.numel(), showers));
    }
    values_ = tensor.detach().to(at::kCPU, at::kDouble).contiguous();
  }
  bool defined() const { return values_.defined(); }
  double operator[](std::int64_t i) const {
    return values_.defined() ? values_.const_data_ptr<double>()[i] : kNaN;
  }

 private:
  at::Tensor values_;
};

/// The shower nearest to the middle of a bin, for pictures.
struct Example {
  double distance = std::numeric_limits<double>::infinity();
  double energy = 0;
  double theta = 0;
  at::Tensor cells = {};
};

}  // namespace

struct ShowerStatistics::Impl {
  Impl(CellGeometry cells, ShowerBinning bins, std::int64_t most_examples)
      : geometry(std::move(cells)), binning(std::move(bins)), measurement(geometry, binning) {
    const ShowerSums none(measurement.row(), geometry, binning);
    sums.assign(energy_bins() * theta_bins(), none);
    if (geometry.image.empty()) return;
    const auto wanted =
        std::min(sums.size(), static_cast<std::size_t>(std::max<std::int64_t>(0, most_examples)));
    for (std::size_t i = 0; i < wanted; ++i) example_bins.push_back((2 * i + 1) * sums.size() / (2 * wanted));
    examples.resize(wanted);
  }

  std::size_t energy_bins() const { return binning.energy_edges.size() - 1; }
  std::size_t theta_bins() const { return std::max<std::size_t>(2, binning.theta_edges.size()) - 1; }

  /// Which of `sums` a shower belongs to.
  std::optional<std::size_t> find(double energy, double theta) const {
    const auto energy_bin = find_bin(binning.energy_edges, energy);
    if (!energy_bin || binning.theta_edges.empty()) return energy_bin;
    const auto theta_bin = find_bin(binning.theta_edges, theta);
    if (!theta_bin) return std::nullopt;
    return *energy_bin * theta_bins() + *theta_bin;
  }

  /// Distance to the middle of bin `slot`, in widths of it.
  double distance(std::size_t slot, double energy, double theta) const {
    const auto of = [](const std::vector<double>& edges, std::size_t bin, double value) {
      return (value - (edges[bin] + edges[bin + 1]) / 2) / (edges[bin + 1] - edges[bin]);
    };
    const double along = of(binning.energy_edges, slot / theta_bins(), energy);
    const double across =
        binning.theta_edges.empty() ? 0 : of(binning.theta_edges, slot % theta_bins(), theta);
    return std::hypot(along, across);
  }

  void keep_example(std::size_t slot, double energy, double theta, const at::Tensor& cells) {
    const auto found = std::find(example_bins.begin(), example_bins.end(), slot);
    if (found == example_bins.end()) return;
    Example& example = examples[static_cast<std::size_t>(found - example_bins.begin())];
    const double far = distance(slot, energy, theta);
    if (far < example.distance) example = {far, energy, theta, cells.view(geometry.image).clone()};
  }

  ShowerSummary summarise(const Impl& totals, std::string name) const;
  void add_pictures(ShowerSummary& summary) const;

  CellGeometry geometry;
  ShowerBinning binning;
  ShowerMeasurement measurement;
  std::vector<ShowerSums> sums;  ///< [energy bin][angle bin]
  double outside = 0;
  std::vector<std::size_t> example_bins = {};
  std::vector<Example> examples = {};
};

namespace {

/// Measures all showers of a batch, in parallel. @returns [B, row size]
at::Tensor measure_all(const ShowerMeasurement& measurement, const at::Tensor& cells, const Column& energy) {
  const std::int64_t showers = cells.size(0);
  const auto width = static_cast<std::int64_t>(measurement.row().size);
  at::Tensor rows = at::empty({showers, width}, at::kDouble);
  std::vector<std::int64_t> unsound(static_cast<std::size_t>(showers));
  const float* first = cells.const_data_ptr<float>();
  const auto num_cells = static_cast<std::size_t>(cells.size(1));
  at::parallel_for(0, showers, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      unsound[static_cast<std::size_t>(i)] =
          measurement.measure({first + static_cast<std::size_t>(i) * num_cells, num_cells}, energy[i],
                              {rows.data_ptr<double>() + i * width, static_cast<std::size_t>(width)});
    }
  });
  const auto bad = std::find_if(unsound.begin(), unsound.end(), [](std::int64_t n) { return n > 0; });
  if (bad != unsound.end()) {
    const auto showers_hit =
        std::count_if(unsound.begin(), unsound.end(), [](std::int64_t n) { return n > 0; });
    throw DataError(fmt::format(
        "{} of {} showers have cells that are negative or not finite, the first is shower {} of the batch "
        "with {} such cells of {}: the file is damaged, or the generator has diverged",
        showers_hit, showers, bad - unsound.begin(), *bad, num_cells));
  }
  return rows;
}

double share(std::int64_t part, std::int64_t of) {
  return of > 0 ? static_cast<double>(part) / static_cast<double>(of) : 0;
}

void check_energies(const Column& energy, std::int64_t showers) {
  for (std::int64_t i = 0; i < showers; ++i) {
    if (!(energy[i] > 0) || std::isinf(energy[i])) {
      throw DataError(fmt::format("shower {} of the batch has the primary energy {} GeV; it must be positive",
                                  i, energy[i]));
    }
  }
}

}  // namespace

ShowerStatistics::ShowerStatistics(CellGeometry geometry, ShowerBinning binning, std::int64_t examples) {
  binning.validate();
  impl_ = std::make_unique<Impl>(std::move(geometry), std::move(binning), examples);
}
ShowerStatistics::~ShowerStatistics() = default;
ShowerStatistics::ShowerStatistics(ShowerStatistics&&) noexcept = default;
ShowerStatistics& ShowerStatistics::operator=(ShowerStatistics&&) noexcept = default;

void ShowerStatistics::add(const at::Tensor& cells, const at::Tensor& energy, const at::Tensor& theta,
                           const at::Tensor& measured_theta) {
  const std::int64_t showers = energy.numel(), num_cells = impl_->geometry.size();
  if (cells.numel() != showers * num_cells) {
    throw ConfigError(fmt::format("{} cells do not make {} showers of a {}", cells.numel(), showers,
                                  impl_->geometry.describe()));
  }
  if (showers == 0) return;
  if (!theta.defined() && !impl_->binning.theta_edges.empty()) {
    throw ConfigError("theta_edges", "bins in angle", "none for showers without angles");
  }
  const Column energies(energy, showers, "energy"), thetas(theta, showers, "theta"),
      measured(measured_theta, showers, "measured_theta");
  check_energies(energies, showers);
  const at::Tensor host = cells.detach().to(at::kCPU, at::kFloat).contiguous().view({showers, num_cells});
  at::Tensor rows = measure_all(impl_->measurement, host, energies);
  const std::size_t width = impl_->measurement.row().size;
  for (std::int64_t i = 0; i < showers; ++i) {
    const auto slot = impl_->find(energies[i], thetas[i]);
    if (!slot) {
      ++impl_->outside;
      continue;
    }
    double* row = rows.data_ptr<double>() + static_cast<std::size_t>(i) * width;
    row[ShowerRow::kTheta] = measured[i];
    impl_->sums[*slot].add({row, width});
    impl_->keep_example(*slot, energies[i], thetas.defined() ? thetas[i] : measured[i], host.select(0, i));
  }
}

ShowerSummary ShowerStatistics::compute(std::string name) const {
  return impl_->summarise(*impl_, std::move(name));
}

ShowerSummary ShowerStatistics::compute(comm::Communicator& communicator, std::string name) const {
  if (communicator.size() == 1) return compute(std::move(name));
  Impl totals(impl_->geometry, impl_->binning, 0);
  const std::size_t per_bin = totals.sums.front().values().size();
  at::Tensor all = at::empty({static_cast<std::int64_t>(per_bin * totals.sums.size()) + 1}, at::kDouble);
  double* place = all.data_ptr<double>();
  *place++ = impl_->outside;
  for (const ShowerSums& bin : impl_->sums) {
    place = std::copy(bin.values().begin(), bin.values().end(), place);
  }
  at::Tensor travelling = all.to(communicator.device());
  communicator.all_reduce(travelling).wait();
  all = travelling.cpu();

  const double* merged = all.const_data_ptr<double>();
  totals.outside = *merged++;
  for (ShowerSums& bin : totals.sums) {
    std::copy(merged, merged + per_bin, bin.values().begin());
    merged += per_bin;
  }
  return impl_->summarise(totals, std::move(name));
}

ShowerSummary ShowerStatistics::Impl::summarise(const Impl& totals, std::string name) const {
  ShowerSummary summary{
      .name = std::move(name),
      .outside = static_cast<std::int64_t>(totals.outside),
      .correlated = {"cell sum", "hits", "first moment x", "first moment y", "first moment z",
                     "second moment x", "second moment y", "second moment z"},
      .binning = binning,
      .geometry = geometry};
  const auto& cell_edges = measurement.cell_edges();
  const auto append = [&](const ShowerSums& of, std::string label, std::int64_t energy_bin,
                          std::int64_t theta_bin) {
    ShowerBinResult& result = summary.bins.emplace_back(of.evaluate(geometry, cell_edges));
    result.label = std::move(label);
    result.energy_bin = energy_bin;
    result.theta_bin = theta_bin;
  };
  const ShowerSums none(measurement.row(), geometry, binning);
  std::vector<ShowerSums> of_energy(energy_bins(), none);
  ShowerSums everything = none;
  for (std::size_t slot = 0; slot < totals.sums.size(); ++slot) {
    of_energy[slot / theta_bins()].merge(totals.sums[slot]);
  }
  for (const ShowerSums& bin : of_energy) everything.merge(bin);

  append(everything, "all", -1, -1);
  for (std::size_t e = 0; e < energy_bins(); ++e) {
    const std::string label = energy_label(binning.energy_edges, e);
    append(of_energy[e], label, static_cast<std::int64_t>(e), -1);
    for (std::size_t t = 0; t < theta_bins() && !binning.theta_edges.empty(); ++t) {
      append(totals.sums[e * theta_bins() + t],
             fmt::format("{}, {}", label, theta_label(binning.theta_edges, t)), static_cast<std::int64_t>(e),
             static_cast<std::int64_t>(t));
    }
  }
  summary.showers = everything.showers();
  summary.empty = everything.empty();
  summary.dark = everything.dark();
  summary.has_theta = everything.has_theta();
  summary.correlation = everything.correlation();
  add_pictures(summary);
  return summary;
}

void ShowerStatistics::Impl::add_pictures(ShowerSummary& summary) const {
  std::vector<at::Tensor> images;
  std::vector<double> energies, thetas;
  for (const Example& example : examples) {
    if (!example.cells.defined()) continue;
    images.push_back(example.cells);
    energies.push_back(example.energy);
    thetas.push_back(example.theta);
  }
  if (images.empty()) return;
  const auto to_tensor = [](const std::vector<double>& values) {
    at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kDouble);
    std::copy(values.begin(), values.end(), tensor.data_ptr<double>());
    return tensor;
  };
  summary.examples = at::stack(images);
  summary.example_energy = to_tensor(energies);
  if (!std::isnan(thetas.front())) summary.example_theta = to_tensor(thetas);
}

double ShowerSummary::empty_share() const noexcept { return share(empty + left_out, showers + left_out); }
double ShowerSummary::dark_share() const noexcept { return share(dark + left_out, showers + left_out); }

std::vector<const ShowerBinResult*> ShowerSummary::energy_bins() const {
  std::vector<const ShowerBinResult*> found;
  for (const ShowerBinResult& bin : bins) {
    if (bin.energy_bin >= 0 && bin.theta_bin < 0) found.push_back(&bin);
  }
  return found;
}

std::vector<const ShowerBinResult*> ShowerSummary::angle_bins(std::int64_t energy_bin) const {
  std::vector<const ShowerBinResult*> found;
  for (const ShowerBinResult& bin : bins) {
    if (bin.energy_bin == energy_bin && bin.theta_bin >= 0) found.push_back(&bin);
  }
  return found;
}

}  // namespace bunchtrain::metrics
