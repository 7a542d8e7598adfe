// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Pipeline-parallel training: ranks hold stages of a network, microbatches pass through them.

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/comm/mesh.hpp"
#include "bunchtrain/core/logger.hpp"
#include "bunchtrain/parallel/engine.hpp"
#include "bunchtrain/parallel/pipeline_schedule.hpp"
#include "bunchtrain/parallel/pipeline_simulation.hpp"

namespace bunchtrain::parallel {

struct PipelineOptions {
  PipelineKind kind = PipelineKind::one_f_one_b;
  int microbatches = 0;     ///< per pass; 0 = twice the ranks of the pipeline
  int stages_per_rank = 0;  ///< of `interleaved`; 0 = 2
  /// A schedule of one's own in the place of `kind`, `microbatches` and `stages_per_rank`.
  std::optional<PipelineSchedule> schedule = {};
  /// First unit of each stage, then the number of units. Empty: cut so that the slowest rank is fastest.
  std::vector<int> begins = {};
  /// Inputs of a microbatch, on any device, by which rank 0 measures the units for the cut; empty: all units count alike.
  NamedTensors example = {};
  std::optional<c10::Device> device = {};  ///< default: the communicator's GPU, else where the network is
  std::optional<at::ScalarType> dtype = {};
  bool sync_batch_norm = false;  ///< statistics of a microbatch over all replicas; else of each replica
  /// Tensors that pass between ranks may change their shapes from one microbatch to the next (ragged samples): shapes are
  /// sent ahead of each. Without it they are sent once for each number of samples, and another shape later is an error.
  bool dynamic_shapes = false;
  bool keep_timeline = false;  ///< for `timeline()`
  Logger logger = {};
};

/// The network as stages along the pipeline axis of a mesh, each stage replicated along its data axis. Gradients, losses and
/// buffers are those of one rank that computes the same microbatches one after another. Batch norm sees a microbatch at a
/// time. Skip connections go straight from the stage that writes a tensor to those that read it. All ranks of a pipeline read
/// the same batch: any unit may read inputs, and the last stage the labels. What `evaluate` finds is known to all of them.
///
/// A microbatch without samples is passed over. If a stage throws, all ranks of the mesh throw a CommError that names the
/// stage, the action and the microbatch; so does a rank that waits for another longer than the communicator's timeout.
///
/// Use from one thread. Collective over the mesh: construction, `run`, `finish`, `evaluate`, `gradient_norm`,
/// `synchronize_buffers`, `state`, `gather`.
class PipelineParallel final : public Engine {
 public:
  /// Keeps the parameters of this rank's stages; those of others have no elements afterwards.
  /// @throws ConfigError for a network that is no `nn::UnitModel` or whose units are wrong (`nn::validate`); a parameter that
  /// no unit has; fewer units than stages; a rank without parameters; a schedule of another number of ranks, or in which
  /// ranks wait for each other for ever.
  PipelineParallel(std::shared_ptr<torch::nn::Module> module, comm::Mesh mesh, PipelineOptions options = {});
  template <class Holder>
  requires requires(const Holder& holder) { holder.ptr(); }
  PipelineParallel(const Holder& holder, comm::Mesh mesh, PipelineOptions options = {})
      : PipelineParallel(std::static_pointer_cast<torch::nn::Module>(holder.ptr()), std::move(mesh),
                         std::move(options)) {}
  ~PipelineParallel() override;

  PassResult run(const Pass& pass) override;
  void finish() override;
  /// Not served: a `ManualStep` needs the whole network on a rank. @throws ConfigError
  void backward(const at::Tensor& loss, const PassOptions& options = {}) override;
  Evaluation evaluate(const Batch& batch, const nn::Objective& objective) override;
  bool has_outputs() const noexcept override { return true; }
  void scale_losses_by(const at::Tensor& scale) override;
  at::Tensor gradient_norm() override;

  std::vector<comm::Axis> axes() const override { return {comm::Axis::data, comm::Axis::pipeline}; }
  bool is_whole() const noexcept override;
  tensor::ParameterArenas& arenas() noexcept override;
  std::vector<OwnedRange> owned_ranges() const override;
  /// The stages of this rank, under the names that they have in the network, with its description.
  torch::nn::Module& module() noexcept override;
  c10::Device device() const noexcept override;
  comm::Communicator& replicas() noexcept override;

  void synchronize_buffers(std::int64_t samples) override;
  /// Of this rank's stages.
  NetworkState state(std::int64_t samples) override;
  /// @param network of all stages, or of this rank's
  void load(const NamedTensors& network, const NamedTensors* buffers_of_rank,
            std::string_view origin) override;
  NamedTensors gather() override;

  device::LateSeconds total_exposed() const override;
  /// "1f1b of 4 stages on 4 ranks, 8 microbatches; stage 0: embed, down1 | ..."
  const std::string& describe() const noexcept override;
  std::string arithmetic() const override;

  const PipelineSchedule& schedule() const noexcept;
  /// First unit of each stage, then the number of units.
  const std::vector<int>& begins() const noexcept;
  /// What this rank did in its last `run`, and when, by the host's clock; empty without `keep_timeline`.
  const std::vector<PipelineEvent>& timeline() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::parallel
