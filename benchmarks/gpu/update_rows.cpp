// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/optim/adamw.hpp"
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

}  // namespace

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
