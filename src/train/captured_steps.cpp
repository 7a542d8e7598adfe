// SPDX-License-Identifier: Apache-2.0
#include "captured_steps.hpp"

#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "bunchtrain/nn/model.hpp"
#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::train {
namespace {

/// What a captured step has in its launches, and not in memory.
struct Signature {
  std::int64_t samples, global_samples;
  std::vector<std::string> names = {};
  std::vector<std::vector<std::int64_t>> sizes = {};
  std::vector<at::ScalarType> types = {};
  std::vector<bool> trained = {};  ///< which parameters have gradients

  bool operator==(const Signature&) const = default;
};

Signature signature_of(const WholeStep& step) {
  Signature signature{.samples = step.batch.size(), .global_samples = step.batch.global_size()};
  for (const auto& [name, tensor] : step.batch.tensors) {
    signature.names.push_back(name);
    signature.sizes.push_back(tensor.sizes().vec());
    signature.types.push_back(tensor.scalar_type());
  }
  for (const at::Tensor& parameter : step.network.engine->module().parameters())
    signature.trained.push_back(parameter.requires_grad());
  return signature;
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
  parallel::PassResult result = {};  ///< in the graph's memory
  std::unique_ptr<device::StepGraph> graph = {};
};

CapturedSteps::CapturedSteps(CudaGraph wish, CreateGraph create, Logger logger)
    : wish_(create ? wish : CudaGraph::off), create_(std::move(create)), logger_(std::move(logger)) {}

void CapturedSteps::give_up(const std::string& reason) {
  if (wish_ == CudaGraph::off) return;
  const bool asked = wish_ == CudaGraph::on;
  logger_.log(asked ? LogLevel::warning : LogLevel::info,
              "steps are not captured in a CUDA graph: " + reason);
  wish_ = CudaGraph::off;
  shapes_.clear();
}

void CapturedSteps::note_eager(double host_seconds, double device_seconds) {
  if (wish_ != CudaGraph::automatic || ++eager_steps_ == 1) return;  // the first one loads kernels
  host_seconds_ += host_seconds;
  device_seconds_ += device_seconds;
  const bool captured =
      std::ranges::any_of(shapes_, [](const auto& shape) { return shape->graph != nullptr; });
  if (captured || eager_steps_ < 4 * kWarmUps || host_seconds_ >= kBinding * device_seconds_) return;
  give_up(fmt::format("the host enqueues a step in {:.1f} ms, the GPU takes {:.1f} ms",
                      1e3 * host_seconds_ / static_cast<double>(eager_steps_ - 1),
                      1e3 * device_seconds_ / static_cast<double>(eager_steps_ - 1)));
}

CapturedSteps::Shape* CapturedSteps::shape_of(const WholeStep& step) {
  Signature signature = signature_of(step);
  const auto found =
      std::ranges::find_if(shapes_, [&](const auto& shape) { return shape->signature == signature; });
  if (found != shapes_.end()) return found->get();
  if (shapes_.size() == kMostShapes) return nullptr;
  shapes_.push_back(std::make_shared<Shape>(Shape{.signature = std::move(signature)}));
  return shapes_.back().get();
}

bool CapturedSteps::is_due(const WholeStep& step, Shape& shape) {
  if (shape.graph) return true;
  if (++shape.seen <= kWarmUps) return false;
  if (wish_ == CudaGraph::automatic &&
      (eager_steps_ <= kWarmUps || host_seconds_ < kBinding * device_seconds_))
    return false;
  if (const std::string reason = why_not(step, wish_); !reason.empty()) {
    give_up(reason);
    return false;
  }
  return true;
}

std::optional<parallel::PassResult> CapturedSteps::run(const WholeStep& step) {
  if (wish_ == CudaGraph::off) return std::nullopt;
  Shape* const shape = shape_of(step);
  if (shape == nullptr || !is_due(step, *shape)) return std::nullopt;
  if (!shape->graph)
    shape->inputs = copy_of(step.batch);
  else
    copy_into(shape->inputs, step.batch);
  step.network.engine->prepare_repeat(
      {.batch = shape->inputs, .objective = step.objective, .global_samples = step.batch.global_size()});
  step.network.optimizer->prepare(step.update);
  const std::size_t layout = step.network.optimizer->launch_layout();
  const nn::StepContext context(step.seed, step.number, shape->inputs.sample_ids, step.number_in_memory);
  if ((!shape->graph || shape->layout != layout) && !capture(step, *shape)) return std::nullopt;
  shape->layout = layout;
  shape->graph->replay();
  return shape->result;
}

bool CapturedSteps::capture(const WholeStep& step, Shape& shape) {
  try {
    shape.graph = create_();
    shape.graph->capture([&network = step.network, &objective = step.objective, &shape] {
      shape.result = network.engine->run(
          {.batch = shape.inputs, .objective = objective, .global_samples = shape.inputs.global_size()});
      network.engine->finish();
      network.optimizer->enqueue();
    });
  } catch (const std::exception& error) {
    give_up(error.what());
    return false;
  }
  logger_.info(fmt::format("steps of {} samples are captured in a CUDA graph", shape.signature.samples));
  return true;
}

}  // namespace bunchtrain::train
