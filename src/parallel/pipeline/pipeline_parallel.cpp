// SPDX-License-Identifier: Apache-2.0
// Invariant: what fails in a stage of one rank ends the pass on all; losses and outputs of the last stage are known to all.
#include "bunchtrain/parallel/pipeline_parallel.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"
#include "bunchtrain/weights/module_weights.hpp"
#include "connections.hpp"
#include "gather_tensors.hpp"
#include "links.hpp"
#include "pipeline_plan.hpp"
#include "playing.hpp"
#include "stage.hpp"
#include "stage_module.hpp"
#include "stage_pass.hpp"

namespace bunchtrain::parallel {
namespace {

c10::Device device_of(torch::nn::Module& module, const comm::Communicator& ranks,
                      const PipelineOptions& options) {
  if (options.device) return *options.device;
  if (!ranks.device().is_cpu()) return ranks.device();
  for (const at::Tensor& parameter : module.parameters()) return parameter.device();
  return c10::Device(c10::kCPU);
}

}  // namespace

struct PipelineParallel::Impl {
  Impl(std::shared_ptr<torch::nn::Module> network, comm::Mesh ranks, const PipelineOptions& options);

  RankStages rank_stages() {
    return {.schedule = schedule(),
            .rank = ranks.rank(),
            .device = replicas.device(),
            .output_names = output_names,
            .stages = stages,
            .links = links,
            .sync_batch_norm = sync_batch_norm};
  }
  /// Means over the batch, on all ranks of the pipeline.
  nn::Losses share_losses(const StagePass& pass, std::int64_t count);
  /// Of all microbatches, on all ranks of the pipeline.
  NamedTensors share_outputs(const StagePass& pass);
  /// What fails on one rank ends all.
  template <class Action>
  auto or_fail(Action&& action);

  bool is_last() const { return schedule().rank_of(schedule().stages - 1) == ranks.rank(); }
  const PipelineSchedule& schedule() const { return plan.schedule; }

  std::shared_ptr<torch::nn::Module> network;
  comm::Mesh mesh;
  comm::Communicator ranks;  ///< of this pipeline
  std::vector<nn::Unit> units;
  std::vector<std::string> output_names;
  PipelinePlan plan;
  std::map<int, Stage> stages;  ///< of this rank
  std::shared_ptr<StageModule> module;
  DataParallel replicas;
  Links links;
  bool sync_batch_norm;
  bool keep_timeline;
  std::string description;
  at::Tensor loss_scale = {};
  std::vector<std::string> term_names = {};
  bool terms_known = false;
  std::vector<PipelineEvent> timeline = {};  ///< of the last pass with gradients
};

namespace {

bool splits_backward(const PipelineSchedule& schedule, int rank) {
  return std::ranges::any_of(schedule.ranks[static_cast<std::size_t>(rank)], is_weight_gradient);
}

std::vector<nn::Unit> units_of(torch::nn::Module& module) {
  nn::UnitModel* const model = nn::as_unit_model(module);
  if (model == nullptr)
    throw ConfigError(
        "a pipeline cuts networks between units: derive the network from nn::UnitModel (units, output_names) in the place "
        "of nn::Model");
  std::vector<nn::Unit> units = model->units();
  nn::validate(units, model->input_names(), model->output_names());
  require_units_cover(module, units);
  return units;
}

/// Moves the network, and keeps of it what this rank has.
std::shared_ptr<StageModule> keep_stages(const std::shared_ptr<torch::nn::Module>& network,
                                         std::span<const nn::Unit> units, const PipelinePlan& plan,
                                         int rank) {
  std::vector<nn::Unit> ours, others;
  for (int stage = 0; stage < plan.schedule.stages; ++stage) {
    auto& owner = plan.schedule.rank_of(stage) == rank ? ours : others;
    owner.insert(owner.end(), units.begin() + plan.begins[stage], units.begin() + plan.begins[stage + 1]);
  }
  auto module = std::make_shared<StageModule>(network, ours);
  release(others);
  return module;
}

/// Agreed on, for a rank alone would leave the others in a collective.
void require_parameters(const comm::Communicator& ranks, const torch::nn::Module& module) {
  const std::vector<std::string> counts =
      ranks.control().all_gather(std::to_string(module.parameters().size()));
  for (std::size_t rank = 0; rank < counts.size(); ++rank)
    if (counts[rank] == "0")
      throw ConfigError(fmt::format(
          "rank {} of the pipeline has stages without a parameter: take fewer ranks along the pipeline axis, or cut the "
          "network otherwise (PipelineOptions::begins)",
          rank));
}

std::shared_ptr<torch::nn::Module> moved(std::shared_ptr<torch::nn::Module> network, c10::Device device,
                                         const PipelineOptions& options) {
  expects(network != nullptr, "PipelineParallel needs a module");
  network->to(device);
  if (options.dtype) network->to(*options.dtype);
  return network;
}

}  // namespace

PipelineParallel::Impl::Impl(std::shared_ptr<torch::nn::Module> whole, comm::Mesh of_ranks,
                             const PipelineOptions& options)
    : network(std::move(whole)),
      mesh(std::move(of_ranks)),
      ranks(mesh.axis(comm::Axis::pipeline)),
      units(units_of(*network)),
      output_names(nn::as_unit_model(*network)->output_names()),
      plan(create_plan(units, mesh.world(), ranks.size(), device_of(*network, ranks, options), options)),
      module(keep_stages(moved(network, device_of(*network, ranks, options), options), units, plan,
                         ranks.rank())),
      replicas((require_parameters(ranks, *module), module), mesh.axis(comm::Axis::data),
               {.plan = CollectivePlan::after_backward, .sync_batch_norm = options.sync_batch_norm}),
      links(ranks, replicas.device(), plan.schedule, connections(units, plan.begins, output_names),
            options.dynamic_shapes),
      sync_batch_norm(!replicas.arithmetic().empty()),
      keep_timeline(options.keep_timeline),
      description(parallel::describe(plan, units)) {
  for (int stage = 0; stage < schedule().stages; ++stage)
    if (schedule().rank_of(stage) == ranks.rank())
      stages.emplace(stage,
                     Stage({units.begin() + plan.begins[stage], units.begin() + plan.begins[stage + 1]},
                           splits_backward(schedule(), ranks.rank())));
  if (mesh.world().rank() == 0) options.logger.info("pipeline: " + description);
}

template <class Action>
auto PipelineParallel::Impl::or_fail(Action&& action) {
  try {
    return action();
  } catch (const Error& error) {
    ranks.poison(error.message());
    for (auto& [index, stage] : stages) stage.forget();
    throw;
  } catch (const std::exception& error) {
    ranks.poison(error.what());
    for (auto& [index, stage] : stages) stage.forget();
    throw;
  }
}

nn::Losses PipelineParallel::Impl::share_losses(const StagePass& pass, std::int64_t count) {
  const int root = schedule().rank_of(schedule().stages - 1);
  if (!terms_known && pass.parts().any()) {
    std::string names;
    if (is_last())
      for (const auto& [name, term] : pass.losses().begin()->second.terms) names += name + '\n';
    names = ranks.control().broadcast(std::move(names), root);
    for (std::size_t begin = 0; begin < names.size(); begin = names.find('\n', begin) + 1)
      term_names.push_back(names.substr(begin, names.find('\n', begin) - begin));
    terms_known = true;
  }
  at::Tensor sums = at::zeros({static_cast<std::int64_t>(term_names.size()) + 1},
                              at::TensorOptions(at::kDouble).device(replicas.device()));
  for (const auto& [microbatch, losses] : pass.losses()) {
    const double share = pass.count(microbatch) / static_cast<double>(std::max<std::int64_t>(count, 1));
    if (share == 0) continue;
    std::vector<at::Tensor> values = {losses.total.detach()};
    for (const std::string& name : term_names) values.push_back(losses.terms[name].detach());
    sums.add_(at::stack(values).to(at::kDouble), share);
  }
  ranks.broadcast(sums, root).wait();
  nn::Losses shared(sums[0]);
  for (std::size_t i = 0; i < term_names.size(); ++i)
    shared.terms.set(term_names[i], sums[static_cast<std::int64_t>(i) + 1]);
  return shared;
}

NamedTensors PipelineParallel::Impl::share_outputs(const StagePass& pass) {
  const int root = schedule().rank_of(schedule().stages - 1);
  NamedTensors shared;
  for (const std::string& name : output_names) {
    at::Tensor numbers = at::zeros({TensorHeader::kNumbers}, at::kLong), whole;
    if (!pass.outputs().empty()) {
      std::vector<at::Tensor> parts;
      for (const auto& [microbatch, outputs] : pass.outputs()) parts.push_back(outputs[name]);
      whole = at::cat(parts).contiguous();
      numbers = TensorHeader::of(whole, false).to_tensor();
    }
    numbers = numbers.to(replicas.device());
    ranks.broadcast(numbers, root).wait();
    const TensorHeader header = TensorHeader::from(numbers.cpu());
    if (!whole.defined())
      whole = at::empty(header.sizes, at::TensorOptions(header.dtype).device(replicas.device()));
    ranks.broadcast(whole, root).wait();
    shared.set(name, whole);
  }
  return shared;
}

PipelineParallel::PipelineParallel(std::shared_ptr<torch::nn::Module> module, comm::Mesh mesh,
                                   PipelineOptions options)
    : impl_(std::make_unique<Impl>(std::move(module), std::move(mesh), options)) {}
PipelineParallel::~PipelineParallel() = default;

PassResult PipelineParallel::run(const Pass& pass) {
  return impl_->or_fail([&] {
    // A step without an element counts samples, so that the ranks still find out whether they count the same one.
    const bool by_elements =
        pass.objective.mean_over() == nn::MeanOver::elements && pass.batch.global_elements > 0;
    const std::int64_t count = by_elements ? pass.batch.elements : pass.batch.size();
    const std::int64_t global_count = by_elements ? pass.batch.global_elements : pass.global_samples;
    StagePass stages(
        impl_->rank_stages(), pass.batch, pass.objective,
        StageGradients{.global_count = static_cast<double>(global_count), .loss_scale = impl_->loss_scale});
    impl_->replicas.begin_pass(
        {.samples = count, .global_samples = global_count, .last = pass.last, .zero_first = pass.first});
    impl_->timeline.clear();
    stages.play(impl_->keep_timeline);
    impl_->timeline = stages.take_timeline();
    if (!pass.last) impl_->replicas.finish();
    return PassResult{.losses = impl_->share_losses(stages, pass.objective.count(pass.batch)),
                      .samples = pass.objective.count(pass.batch),
                      .forward = stages.forward_time(),
                      .backward = stages.backward_time()};
  });
}

void PipelineParallel::finish() {
  impl_->or_fail([&] { impl_->replicas.finish(); });
}

void PipelineParallel::backward(const at::Tensor& /*loss*/, const PassOptions& /*options*/) {
  throw ConfigError(
      "a manual step differentiates losses of its own, for which a rank needs the whole network: train it by DataParallel, or "
      "give the Trainer an objective");
}

Evaluation PipelineParallel::evaluate(const Batch& batch, const nn::Objective& objective) {
  return impl_->or_fail([&] {
    const at::NoGradGuard no_gradients;
    StagePass stages(impl_->rank_stages(), batch, objective, std::nullopt);
    stages.play(/*keep_timeline=*/false);
    return Evaluation{.losses = impl_->share_losses(stages, objective.count(batch)),
                      .outputs = impl_->share_outputs(stages)};
  });
}

void PipelineParallel::scale_losses_by(const at::Tensor& scale) {
  expects(scale.defined() && scale.dim() == 0 && scale.device() == device(),
          "scale_losses_by needs a scalar on the network's device");
  impl_->loss_scale = scale.detach();
}

at::Tensor PipelineParallel::gradient_norm() {
  at::Tensor norm = impl_->replicas.gradient_norm();
  if (impl_->ranks.size() == 1) return norm;
  norm = norm.square().reshape({1});
  impl_->ranks.all_reduce(norm).wait();
  return norm.sqrt_().squeeze(0);
}

tensor::ParameterArenas& PipelineParallel::arenas() noexcept { return impl_->replicas.arenas(); }
std::vector<OwnedRange> PipelineParallel::owned_ranges() const { return impl_->replicas.owned_ranges(); }
torch::nn::Module& PipelineParallel::module() noexcept { return *impl_->module; }
c10::Device PipelineParallel::device() const noexcept { return impl_->replicas.device(); }
comm::Communicator& PipelineParallel::replicas() noexcept { return impl_->replicas.replicas(); }

void PipelineParallel::synchronize_buffers(std::int64_t samples) {
  impl_->replicas.synchronize_buffers(samples);
}

NetworkState PipelineParallel::state(std::int64_t samples) {
  NetworkState state = impl_->replicas.state(samples);
  if (impl_->ranks.size() == 1) return state;
  if (replicas().rank() > 0) state.network = {};
  for (const auto& [name, tensor] : state.network.tensors)
    state.network.slices.emplace(name, tensor::Slice::whole(tensor.sizes()));
  return state;
}

void PipelineParallel::load(const NamedTensors& network, const NamedTensors* buffers_of_rank,
                            std::string_view origin) {
  NamedTensors ours;
  for (const auto& [name, tensor] : weights::named_state(module()))
    if (const at::Tensor* const saved = network.find(name)) ours.set(name, *saved);
  impl_->replicas.load(ours, buffers_of_rank, origin);
}

bool PipelineParallel::is_whole() const noexcept { return impl_->ranks.size() == 1; }

NamedTensors PipelineParallel::gather() {
  return impl_->or_fail(
      [&] { return gather_tensors(impl_->ranks, weights::named_state(module()), device()); });
}

device::LateSeconds PipelineParallel::total_exposed() const { return impl_->replicas.total_exposed(); }
const std::string& PipelineParallel::describe() const noexcept { return impl_->description; }
std::string PipelineParallel::arithmetic() const { return impl_->replicas.arithmetic(); }
const PipelineSchedule& PipelineParallel::schedule() const noexcept { return impl_->plan.schedule; }
const std::vector<int>& PipelineParallel::begins() const noexcept { return impl_->plan.begins; }
const std::vector<PipelineEvent>& PipelineParallel::timeline() const noexcept { return impl_->timeline; }

}  // namespace bunchtrain::parallel
