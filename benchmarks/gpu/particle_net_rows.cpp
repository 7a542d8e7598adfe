// SPDX-License-Identifier: Apache-2.0
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

#include "particle_net_training.hpp"
#include "rows.hpp"

namespace gpu_bench {

namespace bt = bunchtrain;
using bt::device::Precision;

namespace {

/// Sizes of the comparison, or such for a CPU.
Jets jets_of(const Bench& bench, std::int64_t count, std::int64_t few) {
  return {.count = bench.small ? few : count, .particles = bench.small ? 32 : 128, .real = bench.real};
}

/// JetClass as published: 17 features, 10 classes, batches of 512.
Jets jet_class(const Bench& bench) {
  Jets jets = jets_of(bench, 512, 4);
  jets.features = 17;
  jets.classes = 10;
  return jets;
}

Case training_case(const Bench& bench, const Jets& jets, Precision precision, Enqueued enqueued) {
  return {.row = "P1",
          .what = "ParticleNet training step, " + jets.describe(),
          .who = enqueued == Enqueued::singly ? "bunchtrain" : "bunchtrain, captured",
          .precision = precision,
          .samples = static_cast<double>(jets.count),
          .unit = "jets",
          .prepare = [=, device = bench.device] {
            const auto training = std::make_shared<ParticleNetTraining>(jets, device, precision, enqueued);
            return Work{.step = [training] { training->step(); }};
          }};
}

Case evaluation_case(const Bench& bench, const Jets& jets, Precision precision) {
  return {.row = "P1",
          .what = "ParticleNet evaluated, " + jets.describe(),
          .precision = precision,
          .samples = static_cast<double>(jets.count),
          .unit = "jets",
          .prepare = [=, device = bench.device] {
            bt::models::ParticleNet model({.num_features = jets.features, .num_classes = jets.classes});
            model->to(device);
            model->eval();
            return Work{.step = [=, inputs = batch_of(jets, device).tensors]() mutable {
              const bt::device::PrecisionGuard guard(precision, device.type());
              const at::NoGradGuard no_gradients;
              model->forward(inputs);
            }};
          }};
}

Case host_case(const Bench& bench, const Jets& jets, Precision precision, Enqueued enqueued) {
  Case item = training_case(bench, jets, precision, enqueued);
  item.row = "P12";
  item.what = "host time of a ParticleNet training step, " + jets.describe();
  item.samples = 1;
  item.unit = "steps";
  item.prepare = [prepare = item.prepare] {
    Work work = prepare();
    work.timed = Timed::host;
    return work;
  };
  return item;
}

}  // namespace

std::vector<Case> particle_net_cases(const Bench& bench) {
  const Jets many = jets_of(bench, 1024, 8), few = jets_of(bench, 128, 4);
  std::vector<Case> cases;
  for (const Jets& jets : {many, few, jet_class(bench)})
    for (const Precision precision : precisions(bench.device))
      cases.push_back(training_case(bench, jets, precision, Enqueued::singly));
  for (const Precision precision : precisions(bench.device))
    cases.push_back(training_case(bench, few, precision, Enqueued::captured));
  for (const Precision precision : precisions(bench.device))
    cases.push_back(evaluation_case(bench, many, precision));
  return cases;
}

std::vector<Case> host_time_cases(const Bench& bench) {
  const Jets jets = jets_of(bench, 128, 4);
  const Enqueued captured = bench.device.is_cpu() ? Enqueued::without_work : Enqueued::captured;
  std::vector<Case> cases;
  for (const Enqueued enqueued : {Enqueued::singly, captured})
    for (const Precision precision : precisions(bench.device))
      cases.push_back(host_case(bench, jets, precision, enqueued));
  return cases;
}

}  // namespace gpu_bench
