// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The float64 model of an EdgeConv block's edge part beside what computes it from tensors.

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "bunchtrain/ops/edge_conv.hpp"
#include "edge_block_model.hpp"
#include "edge_conv/cpu/edge_plan.hpp"

namespace bunchtrain::test {

inline at::Tensor tensor_of(const Rows& rows, at::ScalarType type) {
  return at::tensor(rows.values, at::kDouble)
      .reshape({static_cast<std::int64_t>(rows.rows()), static_cast<std::int64_t>(rows.columns)})
      .to(type);
}

/// A batch of padded sets: its first particles are real.
struct PaddedBatch {
  EdgeBlockSizes sizes;
  at::Tensor indices;
  ops::Padding padding;

  PaddedBatch(const EdgeBlockSizes& of, const std::vector<std::int64_t>& real, bool zeroed = true,
              bool counted = true)
      : sizes(of) {
    const auto points = static_cast<std::int64_t>(of.points);
    padding = {.mask = at::arange(points).unsqueeze(0).lt(at::tensor(real, at::kLong).unsqueeze(1)),
               .zeroed = zeroed,
               .counted = counted};
    const CounterRandom random(5, 5);
    std::vector<int> numbers(of.sets * of.points * of.neighbours);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = static_cast<int>(random.uniform(i) * static_cast<double>(of.points));
    indices =
        at::tensor(numbers, at::kInt)
            .reshape({static_cast<std::int64_t>(of.sets), points, static_cast<std::int64_t>(of.neighbours)});
  }
  /// As the CPU chooses them.
  BlockEdges edges() const {
    const ops::detail::EdgePlan plan = ops::detail::make_edge_plan(indices, padding);
    const auto* numbers = plan.indices.const_data_ptr<std::int32_t>();
    return {
        plan.nodes, {numbers, numbers + plan.indices.numel()}, static_cast<std::size_t>(plan.inert_edges)};
  }
};

/// What a block is made of as tensors, differentiable.
struct BlockTensors {
  at::Tensor terms;
  ops::EdgeConvLayers layers;

  BlockTensors(const EdgeBlockModel& model, at::ScalarType type)
      : terms(tensor_of(model.terms, type).requires_grad_()) {
    for (std::size_t layer = 0; layer < 3; ++layer) {
      if (layer > 0) layers.weights[layer] = tensor_of(model.weights[layer - 1], type).requires_grad_();
      const auto channels = static_cast<std::int64_t>(model.sizes.channels[layer]);
      ops::BatchNormTensors& norm = layers.norms[layer];
      norm.weight = at::tensor(model.norms[layer].weight, at::kDouble).to(type).requires_grad_();
      norm.bias = at::tensor(model.norms[layer].bias, at::kDouble).to(type).requires_grad_();
      norm.running_mean = at::zeros({channels}, type);
      norm.running_var = at::zeros({channels}, type).add(1);
      norm.num_batches_tracked = at::zeros({}, at::kLong);
      norm.epsilon = EdgeBlockModel::kEpsilon;
    }
  }
  std::vector<at::Tensor> gradients() const {
    std::vector<at::Tensor> all = {terms.grad(), layers.weights[1].grad(), layers.weights[2].grad()};
    for (const ops::BatchNormTensors& norm : layers.norms)
      all.insert(all.end(), {norm.weight.grad(), norm.bias.grad()});
    return all;
  }
};

/// |found - expected| / |expected|, as lengths of vectors.
inline double distance(const at::Tensor& found, const std::vector<double>& expected) {
  const at::Tensor values = at::tensor(expected, at::kDouble);
  const double length = values.norm().item<double>();
  const double difference = found.detach().to(at::kDouble).flatten().sub(values).norm().item<double>();
  return length == 0 ? difference : difference / length;
}

/// The mean and, behind backward of it times the model's gradient, all gradients.
inline void expect_model(const EdgeBlockModel& model, const at::Tensor& mean, const BlockTensors& tensors,
                         double tolerance) {
  EXPECT_LE(distance(mean, model.mean.values), tolerance);
  EXPECT_LE(distance(tensors.terms.grad(), model.terms_gradient.values), tolerance);
  for (std::size_t layer = 0; layer < 3; ++layer) {
    const ops::BatchNormTensors& norm = tensors.layers.norms[layer];
    EXPECT_LE(distance(norm.weight.grad(), model.norms[layer].weight_gradient), tolerance) << layer;
    EXPECT_LE(distance(norm.bias.grad(), model.norms[layer].bias_gradient), tolerance) << layer;
    if (layer == 0) continue;
    EXPECT_LE(distance(tensors.layers.weights[layer].grad(), model.weight_gradients[layer - 1].values),
              tolerance)
        << layer;
  }
}

}  // namespace bunchtrain::test
