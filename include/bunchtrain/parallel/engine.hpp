// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a training drives: a network spread over ranks in one way or another.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/comm/mesh_shape.hpp"
#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/nn/objective.hpp"
#include "bunchtrain/tensor/arena_range.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"
#include "bunchtrain/tensor/state_dict.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::parallel {

/// Counts of a backward pass; they enter as the root gradient, so that the summed gradient is the global mean.
/// For a loss that is a mean over elements "samples" are elements.
struct PassOptions {
  std::int64_t samples = 1;  ///< samples behind this loss on this rank (its mean); 0 is allowed
  /// Samples of the whole optimizer step over all ranks and passes; 0 = samples * world
  /// (one pass, even batches).
  std::int64_t global_samples = 0;
  bool last = true;        ///< only the last pass of a step communicates (gradient accumulation)
  bool zero_first = true;  ///< the first pass of a step clears the gradients
};

/// One pass of an optimizer step: forward, objective and backward over a rank's share of the samples, or over
/// a part of it (gradient accumulation). An objective that is a mean over elements counts by `batch.elements` and
/// `batch.global_elements`.
struct Pass {
  const Batch& batch;
  const nn::Objective& objective;
  std::int64_t global_samples;  ///< of the whole step, over all ranks and passes
  bool first = true;            ///< clears the gradients of the step before
  bool last = true;             ///< starts the collectives
  /// The pass is taken down to be repeated (`Engine::prepare_repeat`, `conclude_repeat`): it leaves out what they do.
  bool repeated = false;
};

/// What a pass found, for records. Tensors are detached and on the engine's device: a host that reads them at
/// once waits for a GPU.
struct PassResult {
  nn::Losses losses = {};  ///< on every rank, means over `samples`
  /// Of this rank, or of the ranks that share a network, behind the losses; elements, where the objective is a
  /// mean over them.
  std::int64_t samples = 0;
  device::LateSeconds forward = {}, backward = {};
};

/// What an evaluation found. Outputs are empty on ranks for which `Engine::has_outputs` is false.
struct Evaluation {
  nn::Losses losses = {};
  NamedTensors outputs = {};
};

/// Of `arenas()[arena]`.
using OwnedRange = tensor::ArenaRange;

/// The state of a network as a snapshot keeps it.
struct NetworkState {
  StateDict network = {};          ///< parameters as they live, and buffers combined over ranks
  StateDict buffers_of_rank = {};  ///< floating buffers as this rank has them: what it goes on with
};

/// A network with its arenas, and the way in which ranks train it together: each has a copy (DataParallel).
/// The Trainer, validation and snapshots know no other face of it. Use from one thread. Collective:
/// construction, `run` of a last pass, `finish`, `evaluate`, `gradient_norm`, `synchronize_buffers`, `state`, `gather`.
class Engine {
 public:
  virtual ~Engine() = default;

  /// Adds a pass to the gradients. @throws ConfigError if the network is no `nn::Model` and nothing says how it
  /// is called, or if the counts of all ranks do not add up to `global_samples`.
  virtual PassResult run(const Pass& pass) = 0;
  /// Ends the step's passes: gradients are the means over all its samples afterwards, for any optimizer.
  virtual void finish() = 0;
  /// Why the device's work of `run` and `finish` cannot be taken down and repeated (`device::StepGraph`), as part of a
  /// sentence; empty: it can, for steps of one pass.
  virtual std::string why_not_repeated() const { return "ranks share it in a way that is not captured"; }
  /// What of a pass is no work of the device, where that is repeated instead of `run` and `finish`: checks, and numbers
  /// in memory.
  virtual void prepare_repeat(const Pass& /*pass*/) {}
  /// What the host looks at behind it, on a GPU one step late. @throws ConfigError as `finish`
  virtual void conclude_repeat() {}
  /// For a `ManualStep`, which has losses of its own: backward of a mean loss; gradients are finished if
  /// `options.last`. With `samples` 0 and local batch norm nothing is differentiated and `loss` may be undefined.
  virtual void backward(const at::Tensor& loss, const PassOptions& options = {}) = 0;
  /// Losses and outputs without gradients, in the mode (`train`, `eval`) that the module is in.
  virtual Evaluation evaluate(const Batch& batch, const nn::Objective& objective) = 0;
  /// The axes of a mesh along which its ranks work together.
  virtual std::vector<comm::Axis> axes() const { return {comm::Axis::data}; }
  /// Whether each rank has the whole network. Else what ranks have of it together is the whole.
  virtual bool is_whole() const noexcept { return true; }

  /// Whether `evaluate` gives this rank the outputs.
  virtual bool has_outputs() const noexcept = 0;
  /// From now on `run` and `backward` differentiate losses times the scalar `scale` on `device()`, as it is when
  /// backward begins (`Optimizer::loss_scale`, whose `step` divides by it). The host does not wait for it.
  virtual void scale_losses_by(const at::Tensor& scale) = 0;

  /// L2 norm of the finished gradients of the whole network: a float64 scalar on `device()`.
  virtual at::Tensor gradient_norm() = 0;

  /// This rank's parameters and gradients, which an optimizer works on.
  virtual tensor::ParameterArenas& arenas() noexcept = 0;
  operator tensor::ParameterArenas&() noexcept { return arenas(); }
  /// What of them this rank updates and answers for (`optim::OwnedRanges`), at most one range of an arena; replicas
  /// own the same ranges.
  virtual std::vector<OwnedRange> owned_ranges() const = 0;
  virtual torch::nn::Module& module() noexcept = 0;
  virtual c10::Device device() const noexcept = 0;
  /// The ranks that have the same parameters as this one and other samples.
  virtual comm::Communicator& replicas() noexcept = 0;

  /// Count-weighted combination of floating buffers (batch-norm statistics) over ranks, before validation;
  /// integer ones become their maximum. `samples` = those of this rank since the last call.
  virtual void synchronize_buffers(std::int64_t samples) = 0;
  /// Parameters are views of the live arenas: copy them before the next step (`checkpoint::HostCopies`). Buffers are copies,
  /// combined as `synchronize_buffers` does, and stay as they are.
  virtual NetworkState state(std::int64_t samples) = 0;
  /// Puts a state back, of the ranks' own buffers if there are any. `origin` is named in errors.
  /// @throws CheckpointError naming the first differing name and shape.
  virtual void load(const NamedTensors& network, const NamedTensors* buffers_of_rank,
                    std::string_view origin) = 0;
  /// Parameters and buffers of the whole network, as they are, by name; empty on ranks that are not the first of those
  /// that share it.
  virtual NamedTensors gather() = 0;

  /// Seconds, of all steps since construction, that this rank waited for gradient collectives; known when the
  /// device got there.
  virtual device::LateSeconds total_exposed() const = 0;
  /// How the ranks work together: "one all-reduce of 1.5 MB after backward (latency 12 us, 3.1 GB/s)".
  virtual const std::string& describe() const noexcept = 0;
  /// What of it changes results, for comparison when a run is resumed: "batch norm over all ranks"; empty: nothing.
  virtual std::string arithmetic() const { return {}; }

 protected:
  Engine() = default;
  Engine(const Engine&) = default;
  Engine& operator=(const Engine&) = default;
};

}  // namespace bunchtrain::parallel
