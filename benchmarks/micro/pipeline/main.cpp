// SPDX-License-Identifier: Apache-2.0
// Steps of pipelines whose stages sleep, against what the simulation of their schedules says.
//
//   mpirun -n 4 build/release/benchmarks/micro/pipeline/pipeline_benchmark [PAUSE_MS]
//
// A stage sleeps PAUSE_MS (20) in forward, in its input gradient and in its weight gradient; stages_per_rank stages share that
// time. Medians of five steps; a step is over when the last rank is.

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "bunchtrain/parallel/pipeline_parallel.hpp"
#include "sleeping_network.hpp"

namespace bt = bunchtrain;

namespace {

constexpr int kSteps = 5;

struct Contestant {
  bt::parallel::PipelineKind kind;
  int stages_per_rank;
};
constexpr Contestant kContestants[] = {{bt::parallel::PipelineKind::gpipe, 1},
                                       {bt::parallel::PipelineKind::one_f_one_b, 1},
                                       {bt::parallel::PipelineKind::interleaved, 2},
                                       {bt::parallel::PipelineKind::zero_bubble_h1, 1},
                                       {bt::parallel::PipelineKind::zero_bubble_v, 2}};

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

bt::Batch batch_of(std::int64_t samples) {
  bt::Batch batch;
  batch.tensors = {{"x", at::ones({samples, 1})}};
  batch.sample_ids = at::arange(samples);
  batch.global_samples = samples;
  return batch;
}

/// Microbatches that a rank holds at its worst moment, in forward actions that wait for their last gradient, by what it did.
int most_held(const std::vector<bt::parallel::PipelineEvent>& timeline) {
  int held = 0, most = 0;
  for (const auto& event : timeline) {
    using enum bt::parallel::PipelineWork;
    held += event.action.work == forward ? 1 : 0;
    most = std::max(most, held);
    held -= event.action.work == backward || event.action.work == weight_gradient ? 1 : 0;
  }
  return most;
}

void measure(const bt::mpi::Comm& control, bt::comm::Communicator& world, const Contestant& contestant,
             std::chrono::milliseconds pause) {
  const int ranks = world.size(), microbatches = 3 * ranks;
  const bt::comm::Mesh mesh(world, bt::comm::MeshShape::parse("pipeline=" + std::to_string(ranks), ranks));
  const int stages = ranks * contestant.stages_per_rank;
  std::vector<int> begins(static_cast<std::size_t>(stages) + 1);
  for (int i = 0; i <= stages; ++i) begins[i] = i;
  bt::parallel::PipelineParallel pipeline(
      std::make_shared<bt::benchmark::SleepingNetwork>(stages, pause / contestant.stages_per_rank), mesh,
      {.kind = contestant.kind,
       .microbatches = microbatches,
       .stages_per_rank = contestant.stages_per_rank,
       .begins = begins,
       .keep_timeline = true});
  const bt::Batch batch = batch_of(microbatches);
  const std::string output = "h" + std::to_string(stages);
  const bt::nn::Objective objective = [&](const bt::NamedTensors& outputs, const bt::Batch&) {
    return bt::nn::Losses(outputs[output].mean());
  };
  std::vector<double> steps;
  for (int i = 0; i < kSteps + 1; ++i) {
    control.barrier();
    const auto start = std::chrono::steady_clock::now();
    pipeline.run({.batch = batch, .objective = objective, .global_samples = microbatches});
    pipeline.finish();
    const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
    const double slowest = static_cast<double>(control.all_max(elapsed.count())) * 1e-9;
    if (i > 0) steps.push_back(slowest);
  }
  const double unit = static_cast<double>(pause.count()) * 1e-3 / contestant.stages_per_rank;
  const auto simulated = bt::parallel::simulate(pipeline.schedule());
  const double theory = simulated.duration * unit,
               busy = 3.0 * unit * microbatches * contestant.stages_per_rank;
  const auto held = control.all_max(most_held(pipeline.timeline()));
  if (world.rank() == 0)
    fmt::print("| {} | {} | {} | {:.3f} | {:.3f} | {:.3f} | {:.3f} | {:.3f} | {} | {:.0f} |\n",
               bt::parallel::to_string(contestant.kind), ranks, microbatches, theory, median(steps),
               median(steps) / theory, theory - busy, median(steps) - busy, held,
               simulated.peak_activation_bytes());
}

}  // namespace

int main(int argc, char** argv) {
  const std::chrono::milliseconds pause(argc > 1 ? std::stoi(argv[1]) : 20);
  bt::mpi::Environment environment;
  auto world = bt::comm::Communicator::create(environment.world(), c10::kCPU);
  if (world.rank() == 0)
    fmt::print(
        "| schedule | ranks | microbatches | step, theory (s) | step (s) | ratio | bubble, theory (s) | bubble (s) | "
        "microbatch-stages held | bound |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const Contestant& contestant : kContestants) measure(environment.world(), world, contestant, pause);
  world.close();
}
