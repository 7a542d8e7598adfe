// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/metrics/cell_geometry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::metrics {
namespace {

/// n + 1 edges of bins that are `width` wide.
std::vector<double> even_edges(std::int64_t bins, double first, double width) {
  std::vector<double> edges;
  for (std::int64_t i = 0; i <= bins; ++i) edges.push_back(first + width * static_cast<double>(i));
  return edges;
}

void check_positive(std::int64_t number, const char* what) {
  if (number < 1) throw ConfigError(what, fmt::format("{}", number), "1 or more");
}

void add_cell(CellGeometry& geometry, const std::array<double, 3>& centre,
              const std::array<std::int64_t, 3>& bin) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    geometry.centre[axis].push_back(centre[axis]);
    geometry.bin[axis].push_back(bin[axis]);
  }
}

/// Where the middle of cell i of n lies along a face from 0 to 1.
double middle(std::int64_t i, std::int64_t n) {
  return (static_cast<double>(i) + 0.5) / static_cast<double>(n);
}

/// The bin of `bins` over (-extent, extent) that a position is in.
std::int64_t bin_of(double position, double extent, std::int64_t bins) {
  const double place = (position + extent) / (2 * extent) * static_cast<double>(bins);
  return std::min(bins - 1, static_cast<std::int64_t>(place));
}

}  // namespace

std::string CellGeometry::describe() const {
  if (!image.empty()) return fmt::format("grid of {} cells", fmt::join(image, " x "));
  return fmt::format("calorimeter of {} cells in {} layers", size(), bins(2));
}

CellGeometry CellGeometry::grid(std::array<std::int64_t, 3> shape) {
  CellGeometry geometry;
  geometry.labels = {"x [cells]", "y [cells]", "z [layers]"};
  geometry.image.assign(shape.begin(), shape.end());
  for (std::size_t axis = 0; axis < 3; ++axis) {
    check_positive(shape[axis], "cells of an axis");
    geometry.edges[axis] = even_edges(shape[axis], -0.5, 1);
  }
  for (std::int64_t x = 0; x < shape[0]; ++x) {
    for (std::int64_t y = 0; y < shape[1]; ++y) {
      for (std::int64_t z = 0; z < shape[2]; ++z) {
        add_cell(geometry, {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)},
                 {x, y, z});
      }
    }
  }
  return geometry;
}

CellGeometry CellGeometry::layers(std::span<const std::array<std::int64_t, 2>> shapes) {
  check_positive(static_cast<std::int64_t>(shapes.size()), "layers");
  CellGeometry geometry;
  geometry.labels = {"x [face]", "y [face]", "z [layers]"};
  // The coarsest layer says how fine a profile over all layers can be.
  std::array<std::int64_t, 2> bins = shapes.front();
  for (const auto& shape : shapes) {
    for (std::size_t axis = 0; axis < 2; ++axis) {
      check_positive(shape[axis], "cells of a layer");
      bins[axis] = std::min(bins[axis], shape[axis]);
    }
  }
  for (std::size_t axis = 0; axis < 2; ++axis) {
    geometry.edges[axis] = even_edges(bins[axis], 0, 1.0 / static_cast<double>(bins[axis]));
  }
  const auto layers = static_cast<std::int64_t>(shapes.size());
  geometry.edges[2] = even_edges(layers, -0.5, 1);
  for (std::int64_t z = 0; z < layers; ++z) {
    const auto [columns, rows] = shapes[static_cast<std::size_t>(z)];
    for (std::int64_t x = 0; x < columns; ++x) {
      for (std::int64_t y = 0; y < rows; ++y) {
        add_cell(geometry, {middle(x, columns), middle(y, rows), static_cast<double>(z)},
                 {x * bins[0] / columns, y * bins[1] / rows, z});
      }
    }
  }
  return geometry;
}

CellGeometry CellGeometry::cylinder(std::int64_t layers, std::int64_t angles, std::int64_t rings) {
  check_positive(layers, "layers");
  check_positive(angles, "angles");
  check_positive(rings, "rings");
  CellGeometry geometry;
  geometry.labels = {"x [rings]", "y [rings]", "z [layers]"};
  const auto extent = static_cast<double>(rings);
  const std::int64_t bins = 2 * rings;
  geometry.edges = {even_edges(bins, -extent, 1), even_edges(bins, -extent, 1), even_edges(layers, -0.5, 1)};
  for (std::int64_t z = 0; z < layers; ++z) {
    for (std::int64_t angle = 0; angle < angles; ++angle) {
      const double phi = 2 * std::numbers::pi * middle(angle, angles);
      for (std::int64_t ring = 0; ring < rings; ++ring) {
        const double radius = static_cast<double>(ring) + 0.5;
        const double x = radius * std::cos(phi), y = radius * std::sin(phi);
        add_cell(geometry, {x, y, static_cast<double>(z)},
                 {bin_of(x, extent, bins), bin_of(y, extent, bins), z});
      }
    }
  }
  return geometry;
}

}  // namespace bunchtrain::metrics
