// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Data-parallel training of one network: one arena, overlapped gradient collectives, any optimizer.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/device/device_time.hpp"
#include "bunchtrain/parallel/collective_plan.hpp"
#include "bunchtrain/parallel/engine.hpp"
#include "bunchtrain/tensor/parameter_arena.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::parallel {

struct DataParallelOptions {
  /// Where the network goes; default: the communicator's GPU, and where it is if that has none.
  std::optional<c10::Device> device = {};
  /// What its floating parameters and buffers become; default: what they are.
  std::optional<at::ScalarType> dtype = {};
  CollectivePlan plan = CollectivePlan::automatic;
  std::int64_t bucket_bytes = 0;  ///< 0 = from the measured fit
  /// Batch-norm statistics over all ranks (exact n-rank equality); else local. Gradients are then summed
  /// after backward, so that they and the statistics have one issue order whatever part of the network a
  /// rank's batch uses.
  bool sync_batch_norm = false;
  /// Cuts images into slabs over these ranks (`nn::set_partition`), which are consecutive ones of the communicator, the same
  /// number for each replica: its other ranks are replicas, with other samples. All of a replica's ranks take the same batch,
  /// and each counts its samples: counts of steps are those of replicas. Gradients are then summed after backward.
  std::optional<comm::Communicator> spatial = {};
  /// How these ranks lie along x, y, z (`comm::MeshShape::slabs`); zeros: all along x.
  std::array<int, 3> slabs = {};
  /// How the network is called, if it is no `nn::Model`.
  std::function<NamedTensors(const NamedTensors&)> forward = {};
  Logger logger = {};
};

/// Moves a module's parameters into arenas, makes all ranks start from rank 0's values, and sums gradients
/// over ranks while backward goes on. Hooks are inert unless a pass is armed. After `finish()`
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
/// Use from one thread. The module must outlive this object.
/// Collective: construction, last passes, `synchronize_buffers`, `broadcast`.
class DataParallel final : public Engine {
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
  ~DataParallel() override;
  DataParallel(DataParallel&&) noexcept;
  DataParallel& operator=(DataParallel&&) noexcept;

  /// The last pass starts collectives while backward goes on; `finish` awaits them.
  PassResult run(const Pass& pass) override;
  void finish() override;
  /// One rank alone: collectives are started and watched by the host.
  std::string why_not_repeated() const override;
  void prepare_repeat(const Pass& pass) override;
  void conclude_repeat() override;
  Evaluation evaluate(const Batch& batch, const nn::Objective& objective) override;
  std::vector<comm::Axis> axes() const override;
  bool has_outputs() const noexcept override { return true; }
  void backward(const at::Tensor& loss, const PassOptions& options = {}) override;

  /// The same in parts, for steps with several losses or several networks: arm, run any number of
  /// `loss.backward()` or `autograd::backward`, finish. `root_gradient()` is the factor that a mean loss must
  /// be scaled with. As nobody knows how many backwards follow, collectives start in `finish`;
  /// passes that are not `last` followed by a last `backward` overlap them.
  /// @throws ConfigError after `scale_losses_by`, whose scale the host does not know.
  void begin_pass(const PassOptions& options = {});
  double root_gradient() const noexcept;

  void scale_losses_by(const at::Tensor& scale) override;
  at::Tensor gradient_norm() override;

  void synchronize_buffers(std::int64_t samples) override;
  NetworkState state(std::int64_t samples) override;
  void load(const NamedTensors& network, const NamedTensors* buffers_of_rank,
            std::string_view origin) override;
  NamedTensors gather() override;
  /// Collective: parameters and buffers of `root` on every rank.
  void broadcast(int root = 0);

  tensor::ParameterArenas& arenas() noexcept override;
  std::vector<OwnedRange> owned_ranges() const override;
  torch::nn::Module& module() noexcept override;
  c10::Device device() const noexcept override;
  comm::Communicator& replicas() noexcept override;
  /// Seconds of the last step that this thread spent starting, pumping and awaiting gradient collectives. On
  /// a GPU those that its stream waited for them after backward; who asks waits for the GPU.
  double exposed_seconds() const;
  device::LateSeconds total_exposed() const override;
  const std::string& describe() const noexcept override;
  std::string arithmetic() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::parallel
