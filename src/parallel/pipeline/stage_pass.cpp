// SPDX-License-Identifier: Apache-2.0
// Invariant: a pass is the schedule's list of this rank, action by action; what an action needs from other ranks is received
// before it, what they need of it is sent after it, and nothing else waits.
#include "stage_pass.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full_like.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <optional>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/step_context.hpp"

namespace bunchtrain::parallel {
namespace {

/// What random numbers of a microbatch are keyed by: as in one pass over the whole batch.
class MicrobatchContext {
 public:
  explicit MicrobatchContext(const Batch& part) {
    if (const nn::StepContext* const whole = nn::StepContext::current())
      context_.emplace(whole->seed(), whole->step(), part.sample_ids, whole->step_in_memory());
  }

 private:
  std::optional<nn::StepContext> context_ = {};
};

}  // namespace

StagePass::StagePass(RankStages ours, const Batch& batch, const nn::Objective& objective,
                     std::optional<StageGradients> gradients)
    : ours_(ours),
      parts_(batch, ours.schedule.microbatches),
      objective_(&objective),
      gradients_(std::move(gradients)) {}

bool StagePass::is_passed_over(int microbatch) const {
  return parts_.size(microbatch) == 0 && !(ours_.sync_batch_norm && differentiates());
}

void StagePass::play(bool keep_timeline) {
  ours_.links.begin(
      [&](const Message& message) {
        return (differentiates() || !message.gradient) && !is_passed_over(message.microbatch);
      },
      [&](int microbatch) { return 2 * parts_.size(microbatch) + (differentiates() ? 1 : 0); });
  const auto since_start = [start = Clock::now()](Clock::time_point moment) {
    return std::chrono::duration<double>(moment - start).count();
  };
  for (const PipelineAction& action : ours_.schedule.ranks[ours_.rank]) {
    if (is_passed_over(action.microbatch)) continue;
    if (!differentiates() && action.work != PipelineWork::forward) continue;
    try {
      act(action);
    } catch (Error& error) {
      error.add_context(
          fmt::format("in {} on rank {} of the pipeline", parallel::describe(action), ours_.rank));
      throw;
    } catch (const std::exception& error) {
      throw Error(fmt::format("{} on rank {} of the pipeline: {}", parallel::describe(action), ours_.rank,
                              error.what()));
    }
    if (keep_timeline)
      timeline_.push_back(
          {.action = action, .begin = since_start(work_begin_), .end = since_start(Clock::now())});
    ours_.links.progress();
  }
  ours_.links.finish();
}

void StagePass::act(const PipelineAction& action) {
  const device::Moment begin(ours_.device);
  work_begin_ = Clock::now();
  if (action.work == PipelineWork::forward) {
    forward(action.stage, action.microbatch);
    forward_time_.add(begin, device::Moment(ours_.device));
    return;
  }
  Stage& stage = ours_.stages.at(action.stage);
  if (action.work == PipelineWork::weight_gradient) {
    stage.weight_gradient(action.microbatch);
    stage.forget(action.microbatch);
  } else {
    take_gradients(action.stage, action.microbatch);
    const bool both = action.work == PipelineWork::backward;
    both ? stage.backward(action.microbatch) : stage.input_gradient(action.microbatch);
    give_gradients(action.stage, action.microbatch);
    if (both) stage.forget(action.microbatch);
  }
  backward_time_.add(begin, device::Moment(ours_.device));
}

void StagePass::forward(int stage, int microbatch) {
  StageValues entering = take_values(stage, microbatch);
  work_begin_ = Clock::now();
  const Batch part = parts_[microbatch];
  const MicrobatchContext context(part);
  const StageValues values = ours_.stages.at(stage).forward(microbatch, part.tensors, std::move(entering));
  give_values(values, stage, microbatch);
  if (is_last(stage)) judge(values, microbatch, part);
}

StageValues StagePass::take_values(int stage, int microbatch) {
  StageValues entering;
  for (int i = 0; i < static_cast<int>(ours_.links.connections().size()); ++i) {
    const Connection& connection = ours_.links.connections()[i];
    if (connection.to != stage) continue;
    const Message message{.connection = i, .microbatch = microbatch, .gradient = false};
    const Links::Received received = ours_.links.sender(message) == ours_.rank
                                         ? handed_over_.extract(message).mapped()
                                         : ours_.links.receive(message);
    entering.tensors.set(connection.value, received.tensor);
    if (!received.requires_grad) continue;
    entering.differentiable.insert(connection.value);
    entered_.insert(message);
  }
  return entering;
}

void StagePass::give_values(const StageValues& values, int stage, int microbatch) {
  for (int i = 0; i < static_cast<int>(ours_.links.connections().size()); ++i) {
    const Connection& connection = ours_.links.connections()[i];
    if (connection.from != stage) continue;
    const Message message{.connection = i, .microbatch = microbatch, .gradient = false};
    const at::Tensor& tensor = values.tensors[connection.value];
    const bool differentiable = values.differentiable.contains(connection.value);
    if (ours_.links.receiver(message) == ours_.rank) {
      handed_over_[message] = {.tensor = tensor, .requires_grad = differentiable};
    } else {
      ours_.links.send(message, tensor, differentiable);
    }
  }
}

void StagePass::judge(const StageValues& values, int microbatch, const Batch& part) {
  NamedTensors outputs;
  for (const std::string& name : ours_.output_names) {
    at::Tensor leaf = values.tensors[name].detach();
    if (differentiates() && values.differentiable.contains(name)) leaf.requires_grad_(true);
    outputs.set(name, std::move(leaf));
  }
  losses_[microbatch] = (*objective_)(outputs, part);
  counts_[microbatch] = static_cast<double>(objective_->count(part));
  (differentiates() ? objective_leaves_ : outputs_)[microbatch] = std::move(outputs);
}

void StagePass::differentiate_objective(int microbatch) {
  const at::Tensor& total = losses_.at(microbatch).total;
  const NamedTensors leaves = objective_leaves_.extract(microbatch).mapped();
  if (!total.requires_grad()) return;
  at::Tensor root;
  {
    const at::NoGradGuard no_gradients;
    const double count = gradients_->global_count;
    root = at::full_like(total, count > 0 ? counts_.at(microbatch) / count : 0.0);
    if (gradients_->loss_scale.defined()) root.mul_(gradients_->loss_scale);
  }
  torch::autograd::backward({total}, {root});
  Stage& last = ours_.stages.at(ours_.schedule.stages - 1);
  for (const auto& [name, leaf] : leaves) {
    if (leaf.grad().defined()) last.add_gradient(microbatch, name, leaf.grad());
  }
}

void StagePass::take_gradients(int stage, int microbatch) {
  for (int i = 0; i < static_cast<int>(ours_.links.connections().size()); ++i) {
    const Connection& connection = ours_.links.connections()[i];
    if (connection.from != stage) continue;
    const Message message{.connection = i, .microbatch = microbatch, .gradient = true};
    if (ours_.links.sender(message) == ours_.rank) continue;  // given when it was made
    if (!ours_.links.has_gradient(message)) continue;
    ours_.stages.at(stage).add_gradient(microbatch, connection.value, ours_.links.receive(message).tensor);
  }
  work_begin_ = Clock::now();
  if (is_last(stage)) differentiate_objective(microbatch);
}

void StagePass::give_gradients(int stage, int microbatch) {
  for (int i = 0; i < static_cast<int>(ours_.links.connections().size()); ++i) {
    const Connection& connection = ours_.links.connections()[i];
    const Message value{.connection = i, .microbatch = microbatch, .gradient = false};
    if (connection.to != stage || !entered_.contains(value)) continue;
    const Message message{.connection = i, .microbatch = microbatch, .gradient = true};
    const at::Tensor gradient = ours_.stages.at(stage).take_gradient(microbatch, connection.value);
    if (ours_.links.receiver(message) == ours_.rank) {
      if (gradient.defined())
        ours_.stages.at(connection.from).add_gradient(microbatch, connection.value, gradient);
    } else {
      ours_.links.send_gradient(message, gradient);
    }
  }
}

}  // namespace bunchtrain::parallel
