// SPDX-License-Identifier: Apache-2.0
#pragma once
/// ParticleNet inside another program, without LibTorch: raw columns in, probabilities out.

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bunchtrain/infer/input_counts.hpp"
#include "bunchtrain/infer/raw_jets.hpp"

namespace bunchtrain::features {
struct Card;
}

namespace bunchtrain::infer {
inline namespace v0_1 {

/// The network of a bundle, ParticleNet or ParticleNet-Lite in float32, and the features that its card computes.
/// Batch norms are folded, padding costs nothing: a jet takes as long as its particles do. Scores are those of
/// `Predictor` to 1e-6, and the same bits in whatever batches and on however many threads.
///
/// Immutable: any number of threads may call `run` at once, each with a scratch of its own, and each does all of
/// its work itself; copies share the weights. No thread counts, signal handlers, locales or floating-point modes are
/// touched, nothing is printed. Errors are bunchtrain::Error, and std::bad_alloc.
class FastPredictor {
 public:
  /// Memory of one caller. Scoring allocates nothing once a scratch has seen jets with as many slots, and its thread a
  /// first jet. One thread at a time.
  class Scratch {
   public:
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;
    ~Scratch();
    /// Of the network's buffers, and of raw columns and features of the jets that were scored together.
    std::size_t bytes() const noexcept;
    /// Of values outside the ranges of the training, in the order of `inputs()`; empty unless it was made to count.
    /// Those of calls that threw are partly among them.
    std::span<const InputCounts> counts() const noexcept;
    void reset_counts() noexcept;

   private:
    friend class FastPredictor;
    struct Impl;
    explicit Scratch(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };

  /// Reads a bundle: once per process.
  /// @throws CheckpointError for a bundle that is missing, damaged, newer, of another network than ParticleNet or in
  /// double precision, and for parts of it that do not belong together.
  static FastPredictor load(const std::filesystem::path& bundle);

  /// The raw columns that `run` needs.
  const std::vector<InputColumn>& inputs() const noexcept;
  /// In the order of the scores.
  const std::vector<std::string>& classes() const noexcept;
  /// The classes, then the estimates of heads and their own errors ("energy", "energy_width").
  const std::vector<std::string>& outputs() const noexcept;
  /// Hash of the bundle.
  const std::string& hash() const noexcept;
  /// The card of the training.
  const features::Card& card() const noexcept;

  /// @throws ConfigError if it is to count and the bundle does not say the range of an input; for fewer bytes than the
  /// network takes.
  Scratch make_scratch(const ScratchOptions& options = {}) const;

  /// Scores jets, [jets.count, outputs().size()], as `Predictor::run` does and with its errors. ConfigError too for a jet
  /// whose raw columns do not fit into the scratch's `most_bytes`.
  void run(const RawJets& jets, std::span<double> scores, Scratch& scratch) const;

 private:
  struct Impl;
  explicit FastPredictor(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace v0_1
}  // namespace bunchtrain::infer
