// SPDX-License-Identifier: Apache-2.0
#include "captured_steps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/tensor/detail/named_layouts.hpp"

namespace bunchtrain::train {
namespace {

/// What a captured step has in its launches, and not in memory.
struct Signature {
  /// Of a step that is what this says.
  explicit Signature(const WholeStep& step);
  /// Once per step: allocates nothing.
  bool fits(const WholeStep& step) const;

  std::int64_t samples, global_samples;
  tensor::NamedLayouts tensors;
  std::vector<bool> trained = {};  ///< which parameters have gradients, in the order of the arenas
};

/// Calls `see` with whether each parameter has gradients, until it returns false.
template <class See>
bool all_parameters(const tensor::ParameterArenas& arenas, See&& see) {
  for (const auto& arena : arenas)
    for (std::size_t i = 0; i < arena.segments().size(); ++i)
      if (!see(arena.parameter(i).requires_grad())) return false;
  return true;
}

Signature::Signature(const WholeStep& step)
    : samples(step.batch.size()), global_samples(step.batch.global_size()), tensors(step.batch.tensors) {
  all_parameters(step.network.engine->arenas(), [&](bool has_gradient) {
    trained.push_back(has_gradient);
    return true;
  });
}

bool Signature::fits(const WholeStep& step) const {
  if (samples != step.batch.size() || global_samples != step.batch.global_size() ||
      !tensors.fit(step.batch.tensors))
    return false;
  std::size_t parameter = 0;
  return all_parameters(step.network.engine->arenas(),
                        [&](bool has_gradient) { return has_gradient == trained[parameter++]; });
}

/// As part of a sentence; empty: nothing stands against it.
std::string why_not(const WholeStep& step, CudaGraph wish) {
  if (const std::string reason = step.network.engine->why_not_repeated(); !reason.empty()) return reason;
  if (!step.network.optimizer->is_repeatable()) return "the optimizer is not one of the fused ones";
  if (!step.batch.ragged.empty()) return "batches are ragged";
  const nn::Model* const model = nn::as_model(step.network.engine->module());
  if (wish == CudaGraph::automatic && (model == nullptr || !model->is_capturable()))
    return "the network does not say that its passes wait for nothing (nn::Model::is_capturable)";
  return {};
}

Batch copy_of(const Batch& batch) {
  Batch copy = batch;
  NamedTensors tensors;
  for (const auto& [name, tensor] : batch.tensors) tensors.set(name, tensor.clone());
  copy.tensors = std::move(tensors);
  copy.sample_ids = batch.sample_ids.clone();
  return copy;
}

void copy_into(Batch& place, const Batch& batch) {
  for (const auto& [name, tensor] : batch.tensors)
    at::Tensor(place.tensors[name]).copy_(tensor, /*non_blocking=*/true);
  place.sample_ids.copy_(batch.sample_ids, /*non_blocking=*/true);
}

}  // namespace

struct CapturedSteps::Shape {
  Signature signature;
  std::int64_t seen = 0;
  Batch inputs = {};                 ///< where the graph reads them
  std::size_t layout = 0;            ///< of the optimizer's launches
  int number = 0;                    ///< of the graph
  parallel::PassResult result = {};  ///< in the graph's memory
  std::unique_ptr<device::StepGraph> graph = {};
};

CapturedSteps::CapturedSteps(CudaGraph wish, CreateGraph create, Logger logger, comm::Communicator ranks)
    : wish_(create ? wish : CudaGraph::off),
      create_(std::move(create)),
      logger_(std::move(logger)),
      agreement_(std::move(ranks)) {}

void CapturedSteps::give_up(const std::string& reason) {
  if (wish_ == CudaGraph::off) return;
  const bool asked = wish_ == CudaGraph::on;
  if (agreement_.speaks())
    logger_.log(asked ? LogLevel::warning : LogLevel::info,
                "steps are not captured in a CUDA graph: " + reason);
  wish_ = CudaGraph::off;
  shapes_.clear();
}

void CapturedSteps::object(std::string reason) {
  if (agreement_.is_alone()) return give_up(reason);
  obstacle_ = std::move(reason);
}

void CapturedSteps::note_eager(double host_seconds, double device_seconds) {
  if (wish_ != CudaGraph::automatic || ++eager_steps_ == 1) return;  // the first one loads kernels
  host_seconds_ += host_seconds;
  device_seconds_ += device_seconds;
  if (graphs_ > 0 || eager_steps_ < 4 * kWarmUps || launches_bind()) return;
  unbound_ = fmt::format("the host enqueues a step in {:.1f} ms, the GPU takes {:.1f} ms",
                         1e3 * host_seconds_ / static_cast<double>(eager_steps_ - 1),
                         1e3 * device_seconds_ / static_cast<double>(eager_steps_ - 1));
}

bool CapturedSteps::launches_bind() const noexcept {
  return wish_ == CudaGraph::on || host_seconds_ >= kBinding * device_seconds_;
}

CapturedSteps::Shape* CapturedSteps::shape_of(const WholeStep& step) {
  const auto found =
      std::ranges::find_if(shapes_, [&](const auto& shape) { return shape->signature.fits(step); });
  if (found != shapes_.end()) return found->get();
  if (shapes_.size() == kMostShapes) return nullptr;
  shapes_.push_back(std::make_shared<Shape>(Shape{.signature = Signature(step)}));
  return shapes_.back().get();
}

StepWish CapturedSteps::wish_for(const WholeStep& step, Shape* shape) {
  StepWish wish{.binds = launches_bind(), .hopes = unbound_.empty(), .obstacle = obstacle_};
  if (shape == nullptr || !obstacle_.empty()) return wish;
  if (!shape->graph && ++shape->seen <= kWarmUps) return wish;
  if (!shape->graph && wish_ == CudaGraph::automatic && eager_steps_ <= kWarmUps) return wish;
  if (!shape->graph) wish.obstacle = why_not(step, wish_);
  if (!wish.obstacle.empty()) return wish;
  step.network.optimizer->prepare(step.update);
  const bool is_same = shape->graph && shape->layout == step.network.optimizer->launch_layout();
  wish.kind = is_same ? StepKind::repeated : StepKind::captured;
  wish.graph = is_same ? shape->number : graphs_;
  return wish;
}

std::optional<parallel::PassResult> CapturedSteps::run(const WholeStep& step) {
  if (wish_ == CudaGraph::off) return std::nullopt;
  Shape* const shape = shape_of(step);
  // Before the optimizer is asked, which may wait for the update of the step before: the GPU has that to do meanwhile.
  if (shape != nullptr && shape->graph) copy_into(shape->inputs, step.batch);
  const StepVerdict verdict = agreement_.agree(wish_for(step, shape));
  if (!verdict.obstacle.empty() || !verdict.hopes)
    give_up(verdict.obstacle.empty() ? unbound_ : verdict.obstacle);
  if (verdict.kind == StepKind::eager || wish_ == CudaGraph::off) return std::nullopt;
  if (!shape->graph) shape->inputs = copy_of(step.batch);
  parallel::Engine& engine = *step.network.engine;
  engine.prepare_repeat(
      {.batch = shape->inputs, .objective = step.objective, .global_samples = step.batch.global_size()});
  const nn::StepContext context(step.seed, step.number, shape->inputs.sample_ids, step.number_in_memory);
  if (verdict.kind == StepKind::captured && !capture(step, *shape)) return std::nullopt;
  engine.replicas().repeat([&] { shape->graph->replay(); }, shape->number).wait();
  engine.conclude_repeat();
  return shape->result;
}

/// The launches of a step, whose result lies in the memory of the graph.
parallel::PassResult CapturedSteps::enqueue(const TrainedNetwork& network, const nn::Objective& objective,
                                            const Batch& inputs) {
  parallel::PassResult result = network.engine->run(
      {.batch = inputs, .objective = objective, .global_samples = inputs.global_size(), .repeated = true});
  network.engine->finish();
  network.optimizer->enqueue();
  return result;
}

/// What this rank alone may fail in fails without a collective: a peer that waited for it within a capture, as NCCL makes
/// its connections there, could not be told. @returns why it cannot be captured
std::string CapturedSteps::rehearse(const WholeStep& step, const Shape& shape) {
  try {
    const auto graph = create_();
    const auto work = [&] { enqueue(step.network, step.objective, shape.inputs); };
    collectives_ = step.network.engine->replicas().rehearse([&] { graph->capture(work); });
  } catch (const CommError&) {
    throw;  // the ranks cannot agree any more
  } catch (const std::exception& error) {
    return device::why_not_captured(error);
  }
  return {};
}

std::string CapturedSteps::take_down(const WholeStep& step, Shape& shape) {
  try {
    shape.graph = create_();
    const auto work = [&network = step.network, &objective = step.objective, &shape] {
      shape.result = enqueue(network, objective, shape.inputs);
    };
    step.network.engine->replicas().capture([&] { shape.graph->capture(work); }, collectives_);
  } catch (const CommError&) {
    throw;
  } catch (const std::exception& error) {
    return device::why_not_captured(error);
  }
  return {};
}

/// Who cannot tells the others before one of them repeats it.
bool CapturedSteps::capture(const WholeStep& step, Shape& shape) {
  shape.layout = step.network.optimizer->launch_layout();
  shape.number = graphs_++;
  std::string refusal;
  if (!agreement_.is_alone()) refusal = agreement_.first_of_all(rehearse(step, shape));
  if (refusal.empty()) refusal = agreement_.first_of_all(take_down(step, shape));
  if (!refusal.empty()) {
    give_up(refusal);
    return false;
  }
  if (agreement_.speaks())
    logger_.info(fmt::format("steps of {} samples are captured in a CUDA graph", shape.signature.samples));
  return true;
}

}  // namespace bunchtrain::train
