// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One pass of a batch through the stages of a rank, forward or forward and backward.

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/nn/objective.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"
#include "bunchtrain/parallel/pipeline_simulation.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "links.hpp"
#include "stage.hpp"

namespace bunchtrain::parallel {

/// What a rank has of a pipeline; passes refer to it.
struct RankStages {
  const PipelineSchedule& schedule;
  int rank;                                      ///< of the pipeline
  c10::Device device;                            ///< where the network is
  const std::vector<std::string>& output_names;  ///< of the network
  std::map<int, Stage>& stages;
  Links& links;
  bool sync_batch_norm;  ///< statistics over replicas need all of them, with samples or without
};

/// The parts of a batch that pass through the pipeline one behind another; uneven by a sample at most.
class Microbatches {
 public:
  Microbatches(const Batch& batch, int count) : batch_(&batch), count_(count) {}
  std::int64_t begin(int index) const { return batch_->size() * index / count_; }
  bool any() const { return batch_->size() > 0; }
  std::int64_t size(int index) const { return begin(index + 1) - begin(index); }
  Batch operator[](int index) const { return slice_samples(*batch_, begin(index), begin(index + 1)); }

 private:
  const Batch* batch_;
  int count_;
};

/// What the last stage gets of a backward pass.
struct StageGradients {
  double global_count;         ///< of what the objective is a mean over, in the whole step
  at::Tensor loss_scale = {};  ///< scalar; undefined: 1
};

/// Used once.
class StagePass {
 public:
  /// @param gradients nothing: forward alone
  StagePass(RankStages ours, const Batch& batch, const nn::Objective& objective,
            std::optional<StageGradients> gradients);

  /// Plays the schedule's list of this rank. @throws Error that names the action
  void play(bool keep_timeline);

  const Microbatches& parts() const noexcept { return parts_; }
  /// Of microbatches, on the rank of the last stage; and what each is a mean over.
  const std::map<int, nn::Losses>& losses() const noexcept { return losses_; }
  double count(int microbatch) const { return counts_.at(microbatch); }
  /// On the rank of the last stage, of forward passes.
  const std::map<int, NamedTensors>& outputs() const noexcept { return outputs_; }
  const device::LateSeconds& forward_time() const noexcept { return forward_time_; }
  const device::LateSeconds& backward_time() const noexcept { return backward_time_; }
  std::vector<PipelineEvent> take_timeline() { return std::move(timeline_); }

 private:
  using Clock = std::chrono::steady_clock;

  bool differentiates() const { return gradients_.has_value(); }
  bool is_passed_over(int microbatch) const;
  void act(const PipelineAction& action);
  void forward(int stage, int microbatch);
  StageValues take_values(int stage, int microbatch);
  void give_values(const StageValues& values, int stage, int microbatch);
  void judge(const StageValues& values, int microbatch, const Batch& part);
  /// Those of what a stage gave to others, and of the objective.
  void take_gradients(int stage, int microbatch);
  void differentiate_objective(int microbatch);
  void give_gradients(int stage, int microbatch);
  bool is_last(int stage) const { return stage == ours_.schedule.stages - 1; }

  RankStages ours_;
  Microbatches parts_;
  const nn::Objective* objective_;
  std::optional<StageGradients> gradients_;
  std::map<int, double> counts_;
  std::map<int, nn::Losses> losses_;
  std::map<int, NamedTensors> objective_leaves_;  ///< what their gradients are asked for
  std::map<int, NamedTensors> outputs_;
  device::LateSeconds forward_time_, backward_time_;
  std::vector<PipelineEvent> timeline_;
  Clock::time_point work_begin_;                    ///< when all was there that the action needs
  std::map<Message, Links::Received> handed_over_;  ///< between stages of this rank
  std::set<Message> entered_;  ///< tensors whose gradients are wanted where they come from
};

}  // namespace bunchtrain::parallel
