// SPDX-License-Identifier: Apache-2.0
// Parts of ParticleNet by themselves: batch norm over edges, edges from points and back, EdgeConv.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/edge_conv.hpp"
#include "bunchtrain/ops/edge_ops.hpp"
#include "rows.hpp"

namespace gpu_bench {

namespace bt = bunchtrain;
using bt::device::Precision;

namespace {

struct Edges {
  std::int64_t jets, points, neighbours, channels;
  std::int64_t count() const { return jets * points * neighbours; }
};

std::vector<Edges> edge_sizes(const Bench& bench) {
  if (bench.small) return {{8, 32, 4, 8}, {8, 32, 4, 16}};
  return {{1024, 128, 16, 64}, {1024, 128, 16, 256}};
}

constexpr Precision kStored[] = {Precision::float32, Precision::bfloat16};

at::ScalarType stored_as(Precision precision) {
  return precision == Precision::bfloat16 ? at::kBFloat16 : at::kFloat;
}

/// Values of a row's storage type; filled on the device, where there is time for gigabytes.
at::Tensor values(at::IntArrayRef shape, Precision precision, c10::Device device) {
  return at::empty(shape, at::TensorOptions(stored_as(precision)).device(device)).normal_();
}

Case batch_norm_case(const Edges& edges, Precision precision, c10::Device device) {
  return {
      .row = "P6",
      .what = fmt::format("batch norm and ReLU, forward and backward, {} edges of {} channels", edges.count(),
                          edges.channels),
      .precision = precision,
      .samples = static_cast<double>(edges.count() * edges.channels),
      .unit = "elements",
      .prepare = [=] {
        bt::nn::BatchNorm norm(bt::nn::BatchNormOptions{.channels = edges.channels});
        norm->to(device);
        const at::Tensor input = values({edges.count(), edges.channels}, precision, device).requires_grad_();
        const at::Tensor gradient = values({edges.count(), edges.channels}, precision, device);
        return Work{[=]() mutable {
          input.mutable_grad().reset();
          norm->forward(input, std::nullopt, /*relu=*/true).backward(gradient);
        }};
      }};
}

Case edge_case(const Edges& edges, Precision precision, c10::Device device) {
  return {.row = "P7",
          .what = fmt::format("edge sums, forward and backward, {} x {} points, k {}, {} channels",
                              edges.jets, edges.points, edges.neighbours, edges.channels),
          .precision = precision,
          .samples = static_cast<double>(edges.count() * edges.channels),
          .unit = "elements",
          .prepare = [=] {
            const std::vector<std::int64_t> points = {edges.jets, edges.points, edges.channels};
            const at::Tensor u = values(points, precision, device).requires_grad_();
            const at::Tensor v = values(points, precision, device).requires_grad_();
            const at::Tensor indices = at::randint(edges.points, {edges.jets, edges.points, edges.neighbours},
                                                   at::TensorOptions(at::kInt).device(device));
            const at::Tensor gradient =
                values({edges.jets, edges.points, edges.neighbours, edges.channels}, precision, device);
            return Work{[=] {
              u.mutable_grad().reset();
              v.mutable_grad().reset();
              bt::ops::edge_sum(u, v, indices).backward(gradient);
            }};
          }};
}

/// Three layers of as many channels as the points have, all points real.
struct EdgeConvWork {
  EdgeConvWork(const Edges& edges, Precision of, c10::Device device)
      : precision(of),
        features(normal({edges.jets, edges.points, edges.channels}, 0, device)),
        indices(at::randint(edges.points, {edges.jets, edges.points, edges.neighbours},
                            at::TensorOptions(at::kInt).device(device))),
        padding{.mask = at::ones({edges.jets, edges.points}, at::TensorOptions(at::kBool).device(device))},
        block(bt::nn::EdgeConvOptions{.in_channels = edges.channels,
                                      .channels = {edges.channels, edges.channels, edges.channels}}) {
    block->to(device);
    for (const auto& parameter : block->named_parameters())
      if (parameter.key().starts_with("convs")) parameter.value().detach().normal_(0, 0.1);
  }
  at::Tensor mean() const { return bt::ops::edge_conv(features, indices, padding, block->layers()); }

  void train() {
    const bt::device::PrecisionGuard guard(precision, features.device().type());
    block->zero_grad();
    mean().sum().backward();
  }
  void evaluate() {
    const bt::device::PrecisionGuard guard(precision, features.device().type());
    const at::NoGradGuard no_gradients;
    mean();
  }

  Precision precision;
  at::Tensor features, indices;
  bt::ops::Padding padding;
  bt::nn::EdgeConvBlock block;
};

Case edge_conv_case(const Edges& edges, Precision precision, bool training, c10::Device device) {
  return {.row = "P9",
          .what = fmt::format("EdgeConv, {}, {} x {} points, k {}, {} channels",
                              training ? "forward and backward" : "evaluated", edges.jets, edges.points,
                              edges.neighbours, edges.channels),
          .precision = precision,
          .samples = static_cast<double>(edges.jets),
          .unit = "jets",
          .prepare = [=] {
            const auto work = std::make_shared<EdgeConvWork>(edges, precision, device);
            work->block->train(training);
            return Work{[=] { training ? work->train() : work->evaluate(); }};
          }};
}

template <class Make>
std::vector<Case> cases_of(const Bench& bench, Make make) {
  std::vector<Case> cases;
  for (const Edges& edges : edge_sizes(bench))
    for (const Precision precision : kStored) cases.push_back(make(edges, precision, bench.device));
  return cases;
}

}  // namespace

std::vector<Case> batch_norm_cases(const Bench& bench) { return cases_of(bench, batch_norm_case); }

std::vector<Case> edge_cases(const Bench& bench) { return cases_of(bench, edge_case); }

std::vector<Case> edge_conv_cases(const Bench& bench) {
  std::vector<Case> cases;
  for (const Edges& edges : edge_sizes(bench))
    for (const Precision precision : precisions(bench.device))
      for (const bool training : {true, false})
        cases.push_back(edge_conv_case(edges, precision, training, bench.device));
  return cases;
}

}  // namespace gpu_bench
