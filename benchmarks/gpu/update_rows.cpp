// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/ema.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "rows.hpp"
#include "stack.hpp"

namespace gpu_bench {

namespace bt = bunchtrain;

namespace {

constexpr int kLayers = 30;
constexpr std::int64_t kBatch = 64;

/// A step with gradient synchronisation and update, and the same forward and backward without.
struct UpdateStep {
  UpdateStep(const Bench& bench, std::int64_t width)
      : bare(std::make_shared<bt::benchmark::Stack>(kLayers, width)),
        net(std::make_shared<bt::benchmark::Stack>(kLayers, width)),
        input(normal({kBatch, width}, 0, bench.device)) {
    bare->to(bench.device);
    net->to(bench.device);
    parallel.emplace(net, bt::comm::Communicator::create(bench.world, bench.device));
    optimizer.emplace(*parallel);
  }

  void with_update() {
    parallel->backward(net->loss(input));
    optimizer->step();
  }
  void without() {
    bare->zero_grad();
    bare->loss(input).backward();
  }

  std::shared_ptr<bt::benchmark::Stack> bare, net;
  at::Tensor input;
  std::optional<bt::parallel::DataParallel> parallel;
  std::optional<bt::optim::AdamW> optimizer;
};

/// An optimizer step of one arena, with clipping and a moving average if asked for.
struct ArenaStep {
  ArenaStep(std::int64_t parameters, bool all, c10::Device device)
      : weight(normal({parameters}, 0, device).requires_grad_()),
        arenas(bt::tensor::create_arenas({{"weight", weight}})),
        optimizer(arenas, {.weight_decay = 0.01}),
        average(arenas, 0.999),
        options{.clip_norm = all ? 1.0 : 0.0, .average = all ? &average : nullptr} {
    arenas[0].gradients().copy_(arenas[0].values());
  }

  at::Tensor weight;
  bt::tensor::ParameterArenas arenas;
  bt::optim::AdamW optimizer;
  bt::optim::Ema average;
  bt::optim::StepOptions options;
};

/// float32 numbers per parameter: the value and two states read and written, the gradient read; clipping reads the
/// gradient once more, the average is read and written.
constexpr double kNumbers = 7, kNumbersOfAll = 10;

Case arena_case(const Bench& bench, std::int64_t parameters, bool all) {
  const double bytes = 4.0 * (all ? kNumbersOfAll : kNumbers) * static_cast<double>(parameters);
  return {.row = "P8",
          .what = fmt::format("AdamW step{}, {:.2f} M parameters",
                              all ? " with clipping and a moving average" : "",
                              1e-6 * static_cast<double>(parameters)),
          .samples = 1e-9 * bytes,
          .unit = "GB",
          .prepare = [bench, parameters, all] {
            const auto step = std::make_shared<ArenaStep>(parameters, all, bench.device);
            return Work{[step] { step->optimizer.step(step->options); }};
          }};
}

}  // namespace

std::vector<Case> arena_cases(const Bench& bench) {
  std::vector<Case> cases;
  for (const std::int64_t parameters :
       bench.small ? std::vector<std::int64_t>{4096} : std::vector<std::int64_t>{366'160, 30'000'000})
    for (const bool all : {false, true}) cases.push_back(arena_case(bench, parameters, all));
  return cases;
}

std::vector<Case> update_cases(const Bench& bench) {
  std::vector<Case> cases;
  for (const std::int64_t width :
       bench.small ? std::vector<std::int64_t>{32, 64} : std::vector<std::int64_t>{110, 316, 1000}) {
    const double millions = static_cast<double>(kLayers * (width * width + width)) * 1e-6;
    cases.push_back({.row = "P4",
                     .what = fmt::format("gradient synchronisation and update, {:.2f} M parameters, {} ranks",
                                         millions, bench.world.size()),
                     .unit = "steps",
                     .prepare = [bench, width] {
                       const auto step = std::make_shared<UpdateStep>(bench, width);
                       return Work{[step] { step->with_update(); }, [step] { step->without(); }};
                     }});
  }
  return cases;
}

}  // namespace gpu_bench
