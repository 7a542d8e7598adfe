// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A trained network inside another program: raw columns in, probabilities out, from any number of threads.

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/device/cuda_graph.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/infer/input_counts.hpp"
#include "bunchtrain/infer/raw_jets.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::features {
struct Card;
}

namespace bunchtrain::infer {
inline namespace v0_1 {

enum class Engine {
  plain,  ///< the modules of the training, any that the registry knows: the bits of an evaluation
  fast,  ///< `FastPredictor` and `FastGenerator`: ParticleNet and 3DGAN on the calling thread alone, the same to rounding
};

struct PredictorOptions {
  Engine engine = Engine::plain;
  /// Jets that go through the network together, at most: more are passed one batch after another. Memory grows
  /// with it. Scores of a jet may differ in the last bits between batches of other sizes.
  std::int64_t batch = 256;
  /// Of the plain engine: float32, or by autocast bfloat16 or float16, as `evaluate` computes them. Softmax is in double
  /// whatever it is. On a GPU float32 uses TF32 where the host allows it (at::globalContext()).
  device::Precision precision = device::Precision::float32;
  /// Of the plain engine: the CPU, or a GPU, which is number 0 unless it says another. Features are computed on the CPU.
  c10::Device device = c10::kCPU;
  /// Of the plain engine on a GPU: whether passes of one shape are taken down as a CUDA graph and repeated as one launch, with
  /// the same bits. `automatic` does it where the host needs about as long to enqueue a pass as the GPU to make it, as for few
  /// jets at a time; `on` for every shape. Networks that do not say `nn::Model::is_capturable` stay eager. While a graph is
  /// taken down, at some call behind the fourth of a shape, no thread of the host may wait for the whole device
  /// (cudaDeviceSynchronize) or use CUDA graphs of its own: so it is off unless a host asks for it.
  device::CudaGraph cuda_graph = device::CudaGraph::off;
  /// Graphs that are kept at most by each of the two `run`: one for each shape and each caller of it at a time. Each has the
  /// memory of a pass; who finds none computes eagerly.
  std::int64_t most_graphs = 16;

  /// @throws ConfigError naming the field.
  void validate() const;
};

/// Memory of one caller: raw columns of a batch, and the buffers of the fast engine. Made by `Predictor::make_scratch`, one thread at a time.
class Scratch {
 public:
  Scratch(Scratch&&) noexcept;
  Scratch& operator=(Scratch&&) noexcept;
  ~Scratch();
  /// Of values outside the ranges of the training, in the order of `Predictor::inputs()`; empty unless it was made to
  /// count. Those of calls that threw are partly among them.
  std::span<const InputCounts> counts() const noexcept;
  void reset_counts() noexcept;

 private:
  friend class Predictor;
  struct Impl;
  explicit Scratch(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The network of a bundle, its weights, and the features that its card computes: those of the training.
///
/// Immutable: any number of threads may call `run` at once, each with a scratch of its own; copies share the weights.
/// No thread counts, signal handlers, locales or floating-point modes are touched, nothing is printed. Loops inside
/// LibTorch use as many threads as the host gave it (at::set_num_threads(1) in hosts with threads of their own).
/// A GPU works on LibTorch's current stream of the calling thread, which a host makes its own by c10::cuda::CUDAStreamGuard
/// with c10::cuda::getStreamFromExternal; the current device is put back. A graph (`cuda_graph`) belongs to one call at a time, and
/// the next one on it begins behind that call, whatever streams the two are on. Errors are bunchtrain::Error, and std::bad_alloc.
class Predictor {
 public:
  /// Reads a bundle: once per process. The model must be known to models::registry.
  /// @throws CheckpointError for a bundle that is missing, damaged, newer or of a network unknown here, and for
  /// parts of it that do not belong together; ConfigError for options, also such that the fast engine or a bundle in double
  /// precision does not have; NotBuiltError, DeviceError for a GPU that is not there. A bundle says no device: those
  /// of trainings on a GPU are for the CPU as well.
  static Predictor load(const std::filesystem::path& bundle, const PredictorOptions& options = {});

  /// The raw columns that `run` needs; empty for a network whose inputs are tensors (a generator of showers).
  const std::vector<InputColumn>& inputs() const noexcept;
  /// In the order of the scores.
  const std::vector<std::string>& classes() const noexcept;
  /// Names of the columns of `run`: the classes, then the estimates of heads and their own errors ("energy",
  /// "energy_width").
  const std::vector<std::string>& outputs() const noexcept;
  /// Hash of the bundle, as evaluations record it.
  const std::string& hash() const noexcept;
  /// The card of the training; nullptr for a network of showers.
  const features::Card* card() const noexcept;

  /// @throws ConfigError if it is to count and the bundle does not say the range of an input; for `most_bytes` of the plain
  /// engine, whose memory is LibTorch's.
  Scratch make_scratch(const ScratchOptions& options = {}) const;

  /// What became of `PredictorOptions::cuda_graph`: nothing is printed, so a host that asked for graphs asks here. From any
  /// thread; all zero with `off`.
  device::GraphUse graph_use() const;

  /// Scores jets: probabilities of the classes and the estimates of heads, [jets.count, outputs().size()], row-major.
  /// Selections of the card are not applied: each jet gets its scores, one without particles too. NaN and infinity in
  /// raw columns are what the card says of them: an error, or its `nan`. Equal to what evaluate writes, bit for bit if
  /// the jets come in the same batches. Waits for the GPU, if there is one. Jets are padded to the card's length whatever
  /// `slots` says, so that a batch's number of jets is its shape: 300 jets with `batch` 256 are of two, which come again.
  /// @throws ConfigError for columns that are missing, too short or of another unit, for `scores` of another size, a
  /// scratch of another predictor; DataError naming jet, particle and column for values that are not finite. `scores`
  /// are then undefined.
  void run(const RawJets& jets, std::span<double> scores, Scratch& scratch) const;

  /// The network alone: the tensors that its card would make, or those of a network without one, to its outputs
  /// ("logits").
  /// Of the plain engine, and of the fast one for a generator of showers ("latent" to "image"). Tensors may lie on any
  /// device; outputs lie where the network does, float32 whatever the precision, belong to the caller, and are on a GPU work
  /// of the stream that is not waited for, but by a call that takes down a graph.
  /// @throws ConfigError naming a tensor that is missing or does not fit.
  NamedTensors run(const NamedTensors& inputs) const;

 private:
  struct Impl;
  explicit Predictor(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace v0_1
}  // namespace bunchtrain::infer
