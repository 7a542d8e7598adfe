// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Steps whose device work is taken down once per shape of batch, as a CUDA graph, and repeated.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/device/step_graph.hpp"
#include "bunchtrain/train/trainer.hpp"
#include "bunchtrain/train/training_choices.hpp"
#include "step_agreement.hpp"

namespace bunchtrain::train {

/// A step of one pass.
struct WholeStep {
  const TrainedNetwork& network;
  const nn::Objective& objective;
  const Batch& batch;
  const optim::StepOptions& update;
  std::uint64_t seed;
  std::int64_t number;
  at::Tensor number_in_memory;  ///< [1] int64
};

/// Forward, backward and update of batches whose shape comes again and again. A shape is run eagerly a few times, so that
/// kernels are loaded and memory has its place; others, and whatever cannot be captured, stay eager. With several ranks a
/// step is captured and repeated on all of them or on none. Not thread-safe. Collective: `run`.
class CapturedSteps {
 public:
  using CreateGraph = std::function<std::unique_ptr<device::StepGraph>()>;

  static constexpr std::int64_t kWarmUps = 4;    ///< eager steps of a shape
  static constexpr std::size_t kMostShapes = 4;  ///< each graph has memory of its own
  static constexpr double kBinding = 0.8;        ///< of the device's time, that the host needs to enqueue it

  /// @param create empty: no step is captured, on any rank
  /// @param ranks of the CPU: those that train together
  CapturedSteps(CudaGraph wish, CreateGraph create, Logger logger,
                comm::Communicator ranks = comm::Communicator::self());

  /// Enqueues the step if its shape is captured or due; the optimizer's `conclude` is left to the caller. Nothing: the step
  /// is to be run eagerly.
  std::optional<parallel::PassResult> run(const WholeStep& step);
  /// Of a step that was run eagerly: by this `automatic` learns whether launches bind.
  void note_eager(double host_seconds, double device_seconds);
  /// No step is captured any more, for a reason that all ranks have and that is said once.
  void give_up(const std::string& reason);
  /// The same for a reason that this rank may have alone: the others hear of it in the next step.
  void object(std::string reason);

 private:
  struct Shape;

  Shape* shape_of(const WholeStep& step);
  bool launches_bind() const noexcept;
  StepWish wish_for(const WholeStep& step, Shape* shape);
  static parallel::PassResult enqueue(const TrainedNetwork& network, const nn::Objective& objective,
                                      const Batch& inputs);
  std::string rehearse(const WholeStep& step, const Shape& shape);
  std::string take_down(const WholeStep& step, Shape& shape);
  bool capture(const WholeStep& step, Shape& shape);

  CudaGraph wish_;
  CreateGraph create_;
  Logger logger_;
  StepAgreement agreement_;
  std::vector<std::shared_ptr<Shape>> shapes_;
  int graphs_ = 0;                ///< that were made, on all ranks alike
  int collectives_ = 0;           ///< of the step that was rehearsed last
  std::string obstacle_;          ///< of this rank
  std::string unbound_;           ///< why it would not pay here
  std::int64_t eager_steps_ = 0;  ///< noted
  double host_seconds_ = 0, device_seconds_ = 0;
};

}  // namespace bunchtrain::train
