// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The edge part of an EdgeConv block in float64, forward and backward, by its definition: every pass over edges
/// is made, none is saved. The oracle of the kernels. It rounds where they do, if asked: else a ReLU that a
/// rounding turns around hides what a tolerance is for.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "bunchtrain/core/random.hpp"

namespace bunchtrain::test {

/// Rows of numbers.
struct Rows {
  Rows() = default;
  Rows(std::size_t rows, std::size_t columns) : columns(columns), values(rows * columns) {}
  double& operator()(std::size_t row, std::size_t column) { return values[row * columns + column]; }
  double operator()(std::size_t row, std::size_t column) const { return values[row * columns + column]; }
  std::size_t rows() const { return columns == 0 ? 0 : values.size() / columns; }

  std::size_t columns = 0;
  std::vector<double> values;
};

/// Normal numbers that float32 holds.
inline Rows normal_rows(std::size_t rows, std::size_t columns, std::uint64_t stream, double scale) {
  Rows result(rows, columns);
  const CounterRandom random(77, stream);
  for (std::size_t i = 0; i < result.values.size(); ++i)
    result.values[i] = static_cast<double>(static_cast<float>(scale * random.normal(i)));
  return result;
}

struct EdgeBlockSizes {
  std::size_t sets, points, neighbours;
  std::size_t channels[3];
};

/// Which edges there are.
struct BlockEdges {
  std::vector<std::int32_t> nodes;    ///< points of all sets that are computed, ascending
  std::vector<std::int32_t> indices;  ///< [sets * points, K] neighbours in the set
  std::size_t inert = 0;  ///< edges more whose first row is zero: in the statistics, not in the mean
};

/// Batch norm over rows with a ReLU behind it.
struct ModelNorm {
  std::vector<double> weight, bias, mean, inverse, weight_gradient, bias_gradient;

  void learn(const Rows& y, double epsilon) {
    mean.assign(y.columns, 0);
    inverse.assign(y.columns, 0);
    const auto count = static_cast<double>(std::max<std::size_t>(1, y.rows()));
    for (std::size_t c = 0; c < y.columns; ++c) {
      for (std::size_t r = 0; r < y.rows(); ++r) mean[c] += y(r, c) / count;
      double variance = 0;
      for (std::size_t r = 0; r < y.rows(); ++r)
        variance += (y(r, c) - mean[c]) * (y(r, c) - mean[c]) / count;
      inverse[c] = 1 / std::sqrt(variance + epsilon);
    }
  }
  double activation(double y, std::size_t c) const {
    return std::max(0.0, (y - mean[c]) * inverse[c] * weight[c] + bias[c]);
  }
  Rows activations(const Rows& y) const {
    Rows a(y.rows(), y.columns);
    for (std::size_t r = 0; r < y.rows(); ++r)
      for (std::size_t c = 0; c < y.columns; ++c) a(r, c) = activation(y(r, c), c);
    return a;
  }
  /// From the gradient of the activations, which becomes that behind the norm, to that in front.
  Rows backward(const Rows& y, Rows& gradient) {
    Rows dy(y.rows(), y.columns);
    const auto count = static_cast<double>(std::max<std::size_t>(1, y.rows()));
    weight_gradient.assign(y.columns, 0);
    bias_gradient.assign(y.columns, 0);
    for (std::size_t c = 0; c < y.columns; ++c) {
      for (std::size_t r = 0; r < y.rows(); ++r) {
        if (activation(y(r, c), c) <= 0) gradient(r, c) = 0;
        bias_gradient[c] += gradient(r, c);
        weight_gradient[c] += gradient(r, c) * (y(r, c) - mean[c]) * inverse[c];
      }
      for (std::size_t r = 0; r < y.rows(); ++r) {
        const double normal = (y(r, c) - mean[c]) * inverse[c];
        dy(r, c) = weight[c] * inverse[c] *
                   (gradient(r, c) - bias_gradient[c] / count - normal * weight_gradient[c] / count);
      }
    }
    return dy;
  }
};

/// a b^T
inline Rows times_transposed(const Rows& a, const Rows& b) {
  Rows c(a.rows(), b.rows());
  for (std::size_t i = 0; i < a.rows(); ++i)
    for (std::size_t j = 0; j < b.rows(); ++j)
      for (std::size_t k = 0; k < a.columns; ++k) c(i, j) += a(i, k) * b(j, k);
  return c;
}
inline Rows times(const Rows& a, const Rows& b) {
  Rows c(a.rows(), b.columns);
  for (std::size_t i = 0; i < a.rows(); ++i)
    for (std::size_t k = 0; k < a.columns; ++k)
      for (std::size_t j = 0; j < b.columns; ++j) c(i, j) += a(i, k) * b(k, j);
  return c;
}
/// a^T b
inline Rows transposed_times(const Rows& a, const Rows& b) {
  Rows c(a.columns, b.columns);
  for (std::size_t k = 0; k < a.rows(); ++k)
    for (std::size_t i = 0; i < a.columns; ++i)
      for (std::size_t j = 0; j < b.columns; ++j) c(i, j) += a(k, i) * b(k, j);
  return c;
}

/// What storage makes of a number; empty: nothing.
using Rounding = std::function<double(double)>;

inline Rows rounded(Rows rows, const Rounding& rounding) {
  if (rounding)
    for (double& value : rows.values) value = rounding(value);
  return rows;
}

struct EdgeBlockModel {
  EdgeBlockModel(const EdgeBlockSizes& of, BlockEdges of_block, Rounding of_operands, Rounding of_edges,
                 const Rounding& of_terms = {})
      : sizes(of), block(std::move(of_block)), operands(std::move(of_operands)), stored(std::move(of_edges)) {
    const std::size_t all = of.sets * of.points;
    const auto& [c1, c2, c3] = of.channels;
    terms = rounded(normal_rows(all, 2 * c1, 1, 1), of_terms);
    weights[0] = normal_rows(c2, c1, 2, 1 / std::sqrt(static_cast<double>(c1)));
    weights[1] = normal_rows(c3, c2, 3, 1 / std::sqrt(static_cast<double>(c2)));
    gradient = normal_rows(all, c3, 4, 1);
    for (std::size_t layer = 0; layer < 3; ++layer) {
      norms[layer].weight = normal_rows(1, of.channels[layer], 10 + layer, 1).values;
      norms[layer].bias = normal_rows(1, of.channels[layer], 20 + layer, 0.5).values;
    }
    norms[2].weight[0] = 0;  // nothing divides by it
    forward();
    backward();
  }

  std::size_t from(std::size_t edge) const {
    return static_cast<std::size_t>(block.nodes[edge / sizes.neighbours]);
  }
  std::size_t to(std::size_t edge) const {
    const std::size_t point = from(edge);
    return point / sizes.points * sizes.points +
           static_cast<std::size_t>(block.indices[point * sizes.neighbours + edge % sizes.neighbours]);
  }
  std::size_t edges() const { return block.nodes.size() * sizes.neighbours; }
  std::size_t rows() const { return edges() + block.inert; }

  void forward() {
    y[0] = Rows(rows(), sizes.channels[0]);
    for (std::size_t e = 0; e < edges(); ++e)
      for (std::size_t c = 0; c < sizes.channels[0]; ++c)
        y[0](e, c) = terms(from(e), c) + terms(to(e), sizes.channels[0] + c);
    for (std::size_t layer = 0; layer < 3; ++layer) {
      norms[layer].learn(y[layer], kEpsilon);
      a[layer] = norms[layer].activations(y[layer]);
      if (layer < 2)
        y[layer + 1] =
            rounded(times_transposed(rounded(a[layer], operands), rounded(weights[layer], operands)), stored);
    }
    mean = Rows(sizes.sets * sizes.points, sizes.channels[2]);
    for (std::size_t e = 0; e < edges(); ++e)
      for (std::size_t c = 0; c < mean.columns; ++c)
        mean(from(e), c) += a[2](e, c) / static_cast<double>(sizes.neighbours);
  }

  void backward() {
    Rows g(rows(), sizes.channels[2]);
    for (std::size_t e = 0; e < edges(); ++e)
      for (std::size_t c = 0; c < g.columns; ++c)
        g(e, c) = gradient(from(e), c) / static_cast<double>(sizes.neighbours);
    for (std::size_t layer = 2; layer > 0; --layer) {
      const Rows dy = rounded(norms[layer].backward(y[layer], g), operands);
      behind[layer] = g;
      weight_gradients[layer - 1] = transposed_times(dy, rounded(a[layer - 1], operands));
      g = times(dy, rounded(weights[layer - 1], operands));
      if (layer == 2) g = rounded(g, stored);
    }
    const Rows dy = norms[0].backward(y[0], g);
    behind[0] = g;
    terms_gradient = Rows(terms.rows(), terms.columns);
    for (std::size_t e = 0; e < edges(); ++e)
      for (std::size_t c = 0; c < dy.columns; ++c) {
        terms_gradient(from(e), c) += dy(e, c);
        terms_gradient(to(e), dy.columns + c) += dy(e, c);
      }
  }

  static constexpr double kEpsilon = 1e-5;
  EdgeBlockSizes sizes;
  BlockEdges block;
  Rounding operands, stored;
  Rows terms, weights[2], gradient;
  ModelNorm norms[3];
  Rows y[3], a[3], mean;
  Rows behind[3];  ///< gradients behind each batch norm, where its ReLU lets them through
  Rows terms_gradient, weight_gradients[2];
};

}  // namespace bunchtrain::test
