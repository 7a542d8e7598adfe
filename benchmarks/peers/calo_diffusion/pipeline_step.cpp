// SPDX-License-Identifier: Apache-2.0
// Times pipeline steps of the blocks of calo-diffusion's U-Net without its skip connections, which torch.distributed.pipelining
// refuses: the counterpart of torch_pipeline.py, which prints the same line.
//
//   mpirun -n 2 --bind-to none calo_diffusion_pipeline step [--schedule gpipe|1f1b] [--batch B] [--microbatches M]
//   calo_diffusion_pipeline check --out FILE     weights, inputs and loss, for the peer to repeat
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/device/host_memory.hpp"
#include "bunchtrain/models/calo_diffusion.hpp"
#include "bunchtrain/mpi/environment.hpp"
#include "bunchtrain/nn/initial_weights.hpp"
#include "bunchtrain/parallel/pipeline_parallel.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "bunchtrain/weights/safetensors.hpp"
#include "parts.hpp"

namespace {

namespace bt = bunchtrain;
namespace parts = bt::models::detail;

constexpr std::array<std::int64_t, 3> kCells = {28, 28, 28};

struct Arguments {
  std::string task, schedule = "1f1b", out;
  std::int64_t batch = 16;
  int microbatches = 8, cut = 7, repetitions = 7, warmup = 2;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Times pipeline steps of the blocks of calo-diffusion's U-Net");
  app.add_option("task", arguments.task)->required()->check(CLI::IsMember({"step", "check"}));
  app.add_option("--schedule", arguments.schedule);
  app.add_option("--batch", arguments.batch);
  app.add_option("--microbatches", arguments.microbatches);
  app.add_option("--cut", arguments.cut, "first unit of the second stage");
  app.add_option("--repetitions", arguments.repetitions);
  app.add_option("--warmup", arguments.warmup);
  app.add_option("--out", arguments.out, "check: the file to write");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return arguments;
}

/// Thirteen units one behind the other, each block conditioned by "known".
class StraightUnet : public torch::nn::Module, public bt::nn::UnitModel {
 public:
  explicit StraightUnet(const std::vector<std::int64_t>& channels) : condition_(4 * channels.front()) {
    const std::int64_t fine = channels[0], middle = channels[1], coarse = channels[2];
    add("stem", parts::Stem(kCells, kCells, 4, fine));
    add_block("down0", fine);
    add("shrink0", parts::Shrink(fine, middle));
    add_block("down1", middle);
    add("shrink1", parts::Shrink(middle, coarse));
    add_block("middle0", coarse);
    add("attention", parts::Attention(coarse));
    add_block("middle1", coarse);
    add("grow1", parts::Grow(coarse, middle));
    add_block("up1", middle);
    add("grow0", parts::Grow(middle, fine));
    add_block("up0", fine);
    add("head", parts::Head(kCells, fine));
    bt::nn::fill_default_weights(*this, 1);
  }

  std::int64_t condition() const { return condition_; }
  std::vector<std::string> input_names() const override { return {"image", "known"}; }
  std::vector<std::string> output_names() const override { return {"head"}; }
  std::vector<bt::nn::Unit> units() override { return units_; }

 private:
  std::string last() const { return units_.empty() ? "image" : units_.back().name; }

  template <class Layer>
  void add(const std::string& name, Layer layer) {
    register_module(name, layer);
    units_.push_back(bt::nn::unit(name, layer, last(), name));
  }

  void add_block(const std::string& name, std::int64_t channels) {
    const parts::ResidualBlock block(channels, channels, condition_);
    register_module(name, block);
    units_.push_back(
        {.name = name,
         .module = block.ptr(),
         .reads = {last(), "known"},
         .writes = {name},
         .forward = [block = parts::ResidualBlock(block)](const std::vector<at::Tensor>& in) mutable {
           return std::vector<at::Tensor>{block->forward(in[0], in[1])};
         }});
  }

  std::int64_t condition_;
  std::vector<bt::nn::Unit> units_;
};

bt::Batch batch_of(std::int64_t samples, std::int64_t condition) {
  bt::Batch batch;
  batch.tensors = {{"image", at::randn({samples, kCells[0], kCells[1], kCells[2]})},
                   {"known", at::randn({samples, condition})},
                   {"target", at::randn({samples, kCells[0], kCells[1], kCells[2]})}};
  batch.sample_ids = at::arange(samples);
  batch.global_samples = samples;
  return batch;
}

bt::nn::Losses squares(const bt::NamedTensors& outputs, const bt::Batch& batch) {
  return bt::nn::Losses((outputs["head"] - batch.tensors["target"]).square().mean());
}

/// PyTorch's transposed convolution has one bias per channel, ours one per cell of the eight that it makes: zero here.
void check(const Arguments& arguments, StraightUnet& network) {
  const at::NoGradGuard no_gradients;
  for (auto& parameter : network.named_parameters())
    if (parameter.key().ends_with("bias")) parameter.value().zero_();
  const bt::Batch batch = batch_of(arguments.batch, network.condition());
  bt::NamedTensors values = batch.tensors;
  for (const bt::nn::Unit& unit : network.units()) bt::nn::call(unit, values);
  const at::Tensor loss = (values["head"] - values["target"]).square().mean();
  bt::NamedTensors file = bt::weights::named_state(network);
  for (const auto& [name, tensor] : batch.tensors) file.set("input." + name, tensor);
  bt::weights::write_safetensors(arguments.out, {.tensors = file, .metadata = {}});
  fmt::print("loss {:.9g}\n", loss.item<double>());
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.at(values.size() / 2);
}

void time_steps(const Arguments& arguments, const std::shared_ptr<StraightUnet>& network,
                const bt::mpi::Comm& control, bt::comm::Communicator& world) {
  const int ranks = world.size();
  const bt::comm::Mesh mesh(world, bt::comm::MeshShape::parse(fmt::format("pipeline={}", ranks), ranks));
  const auto units = static_cast<int>(network->units().size());
  const std::int64_t condition = network->condition();
  bt::parallel::PipelineParallel pipeline(network, mesh,
                                          {.kind = bt::parallel::parse_pipeline_kind(arguments.schedule),
                                           .microbatches = arguments.microbatches,
                                           .begins = {0, arguments.cut, units},
                                           .keep_timeline = true});
  const bt::Batch batch = batch_of(arguments.batch, condition);
  std::vector<double> steps, computed;
  for (int repetition = 0; repetition < arguments.warmup + arguments.repetitions; ++repetition) {
    control.barrier();
    const auto start = std::chrono::steady_clock::now();
    pipeline.run({.batch = batch, .objective = squares, .global_samples = arguments.batch});
    pipeline.finish();
    const std::chrono::nanoseconds elapsed = std::chrono::steady_clock::now() - start;
    double busy = 0;
    for (const auto& event : pipeline.timeline()) busy += event.end - event.begin;
    const double step = static_cast<double>(control.all_max(elapsed.count())) * 1e-9,
                 longest = static_cast<double>(control.all_max(static_cast<std::int64_t>(busy * 1e9))) * 1e-9;
    if (repetition < arguments.warmup) continue;
    steps.push_back(step);
    computed.push_back(longest);
  }
  if (world.rank() == 0)
    fmt::print("bunchtrain {} ranks {} batch {} microbatches {}: {:.2f} ms, busiest rank {:.2f} ms\n",
               arguments.schedule, ranks, arguments.batch, arguments.microbatches, 1e3 * median(steps),
               1e3 * median(computed));
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  bt::device::keep_freed_memory();
  at::set_num_threads(1);
  at::manual_seed(1);
  const auto network =
      std::make_shared<StraightUnet>(bt::models::CaloDiffusionOptions::preset("tiny").channels);
  if (arguments.task == "check") {
    check(arguments, *network);
    return 0;
  }
  bt::mpi::Environment environment;
  auto world = bt::comm::Communicator::create(environment.world(), c10::kCPU);
  time_steps(arguments, network, environment.world(), world);
  world.close();
}
