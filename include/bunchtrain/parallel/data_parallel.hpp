// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Data-parallel training of one network: one arena, overlapped gradient collectives, any optimizer.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/parallel/collective_plan.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::parallel {

struct DataParallelOptions {
  /// Where the network goes; default: the communicator's GPU, and where it is if that has none.
  std::optional<c10::Device> device = {};
  CollectivePlan plan = CollectivePlan::automatic;
  std::int64_t bucket_bytes = 0;  ///< 0 = from the measured fit
  /// Batch-norm statistics over all ranks (exact n-rank equality); else local. Gradients are then summed
  /// after backward, so that they and the statistics have one issue order whatever part of the network a
  /// rank's batch uses.
  bool sync_batch_norm = false;
  Logger logger = {};
};

/// Counts of one backward pass; they enter as the root gradient, so that the summed
/// gradient is the global mean.
struct PassOptions {
  std::int64_t samples = 1;  ///< samples behind this loss on this rank (its mean); 0 is allowed
  /// Samples of the whole optimizer step over all ranks and passes; 0 = samples * world
  /// (one pass, even batches).
  std::int64_t global_samples = 0;
  bool last = true;        ///< only the last pass of a step communicates (gradient accumulation)
  bool zero_first = true;  ///< the first pass of a step clears the gradients
};

/// Moves a module's parameters into arenas, makes all ranks start from rank 0's values, and sums gradients
/// over ranks while backward goes on. Hooks are inert unless a pass is armed. After `finish_gradients()`
/// (called by `backward` for the last pass) every `p.grad()` is the finished global mean, for any optimizer.
///
/// The counts of a step are summed together with the gradients and checked: if the samples of all ranks do
/// not add up to `global_samples`, or ranks froze different parameters, every rank throws the same
/// ConfigError: on the CPU in that step, on a GPU, whose numbers arrive later, in the last pass of the next
/// one or in `synchronize_buffers`.
///
/// Within a pass backward runs in the thread that calls it, also on a GPU, where collectives would otherwise
/// start behind it.
///
/// Use from one thread. The module must outlive this object. Collective: construction, last passes,
/// `synchronize_buffers`, `broadcast`.
class DataParallel {
 public:
  /// @throws ConfigError on every rank if the ranks' networks differ, naming the first difference.
  DataParallel(std::shared_ptr<torch::nn::Module> module, comm::Communicator communicator,
               DataParallelOptions options = {});
  /// Accepts a `torch::nn::ModuleHolder` (ParticleNet and the like).
  template <class Holder>
  requires requires(const Holder& holder) { holder.ptr(); }
  DataParallel(const Holder& holder, comm::Communicator communicator, DataParallelOptions options = {})
      : DataParallel(std::static_pointer_cast<torch::nn::Module>(holder.ptr()), std::move(communicator),
                     std::move(options)) {}
  ~DataParallel();
  DataParallel(DataParallel&&) noexcept;
  DataParallel& operator=(DataParallel&&) noexcept;

  /// Backward of a mean loss, gradients finished if `options.last`. With `samples` 0 and local batch norm
  /// nothing is differentiated and `loss` may be undefined.
  void backward(const at::Tensor& loss, const PassOptions& options = {});

  /// The same in parts, for steps with several losses or several networks: arm, run any number of
  /// `loss.backward()` or `autograd::backward`, finish. `root_gradient()` is the factor that a mean loss must
  /// be scaled with. As nobody knows how many backwards follow, collectives start in `finish_gradients`;
  /// passes that are not `last` followed by a last `backward` overlap them.
  /// @throws ConfigError after `scale_losses_by`, whose scale the host does not know.
  void begin_pass(const PassOptions& options = {});
  double root_gradient() const noexcept;
  void finish_gradients();

  /// From now on `backward` multiplies its loss by the scalar `scale` on this device, as it is when backward
  /// begins: `Optimizer::loss_scale`, whose `step` divides by it. The host does not wait for it.
  void scale_losses_by(const at::Tensor& scale);

  /// Collective: count-weighted combination of floating buffers (batch-norm statistics) over ranks, before
  /// validation and checkpoints; integer buffers (batches tracked) become their maximum. `samples` = samples
  /// this rank has contributed since the last call.
  void synchronize_buffers(std::int64_t samples);
  /// Collective: parameters and buffers of `root` on every rank.
  void broadcast(int root = 0);

  tensor::ParameterArenas& arenas() noexcept;
  operator tensor::ParameterArenas&() noexcept { return arenas(); }
  torch::nn::Module& module() noexcept;
  comm::Communicator& communicator() noexcept;
  c10::Device device() const noexcept;
  /// As in the options, also on one rank.
  bool sync_batch_norm() const noexcept;
  /// Seconds of the last step that this thread spent starting, pumping and awaiting gradient collectives. On
  /// a GPU those that its stream waited for them after backward; who asks waits for the GPU.
  double exposed_seconds() const;
  /// The same, of all steps since construction, known when the GPU got there.
  device::LateSeconds total_exposed() const;
  /// "one all-reduce of 1.5 MB after backward (latency 12 us, 3.1 GB/s)".
  const std::string& plan_description() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::parallel
