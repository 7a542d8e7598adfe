// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A small training whose steps go through `train::CapturedSteps`.

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bunchtrain/models/particle_net.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/ema.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/train/objectives.hpp"
#include "captured_steps.hpp"
#include "host_graph.hpp"
#include "step_number.hpp"

namespace bunchtrain::test {

class KeptLines : public LogSink {
 public:
  void write(LogLevel level, std::string_view text) override {
    lines.push_back(std::string(to_string(level)) + ": " + std::string(text));
  }
  std::vector<std::string> lines;
};

inline models::ParticleNetOptions tiny_particle_net() {
  models::ParticleNetOptions options;
  options.num_features = 3;
  options.blocks = {{.k = 3, .channels = {8, 8, 8}}, {.k = 3, .channels = {8, 8, 8}}};
  options.hidden = 8;
  options.dropout = 0.5;
  return options;
}

/// Ids go on, so that dropout has other numbers in every step.
inline Batch batch_of(std::int64_t samples, std::int64_t first_id, std::int64_t particles = 6) {
  Batch batch;
  batch.tensors = {{"points", at::rand({samples, particles, 2})},
                   {"features", at::rand({samples, particles, 3})},
                   {"mask", at::ones({samples, particles}, at::kBool)},
                   {"label", at::arange(samples).remainder(2)}};
  batch.sample_ids = at::arange(first_id, first_id + samples);
  batch.global_samples = samples;
  return batch;
}

/// A training, whose steps go through `captured` first.
template <class Optimizer>
struct CapturedTraining {
  explicit CapturedTraining(train::CapturedSteps steps, comm::Communicator ranks = comm::Communicator::self(),
                            parallel::DataParallelOptions options = {})
      : engine(net, std::move(ranks), std::move(options)),
        optimizer(engine),
        average(engine.arenas(), 0.9),
        captured(std::move(steps)) {
    net->train();
  }

  double step(const Batch& batch, double gradient_scale = 1) {
    optimizer.set_learning_rate(1e-2 / static_cast<double>(1 + number));
    number_in_memory.write(number);
    const optim::StepOptions update{
        .clip_norm = 0.5, .gradient_scale = gradient_scale, .check_finite = true, .average = &average};
    const auto result = captured.run({.network = network,
                                      .objective = objective,
                                      .batch = batch,
                                      .update = update,
                                      .seed = 5,
                                      .number = number,
                                      .number_in_memory = number_in_memory.tensor()});
    if (result) {
      report = optimizer.conclude();
      ++number;
      return result->losses.total.template item<double>();
    }
    const nn::StepContext context(5, number++, batch.sample_ids, number_in_memory.tensor());
    const auto eager =
        engine.run({.batch = batch, .objective = objective, .global_samples = batch.global_size()});
    engine.finish();
    report = optimizer.step(update);
    return eager.losses.total.template item<double>();
  }

  models::ParticleNet net{tiny_particle_net()};
  parallel::DataParallel engine;
  Optimizer optimizer;
  optim::Ema average;
  train::TrainedNetwork network{"net", &engine, &optimizer};
  train::CapturedSteps captured;
  train::StepNumber number_in_memory{c10::kCPU};
  nn::Objective objective = train::classification();
  std::int64_t number = 0;
  optim::StepReport report;
};

inline train::CapturedSteps eager_steps() { return {train::CudaGraph::off, {}, {}}; }

}  // namespace bunchtrain::test
