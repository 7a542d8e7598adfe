// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Moving averages of the networks' parameters, which a run keeps beside them: `--ema`.

#include <cstddef>
#include <span>
#include <vector>

#include "bunchtrain/checkpoint/snapshot.hpp"
#include "bunchtrain/optim/ema.hpp"
#include "bunchtrain/train/trainer.hpp"

namespace bunchtrain::train {

/// One average per network, all with the same decay; none without a decay. The same on all ranks that have the
/// same parameters. The networks must outlive it. Not thread-safe.
class Averages {
 public:
  /// The networks hold their averages, and the averages the networks' parameters, as long as it lives.
  class Exchanged {
   public:
    explicit Exchanged(Averages& averages);
    ~Exchanged();
    Exchanged(const Exchanged&) = delete;
    Exchanged& operator=(const Exchanged&) = delete;

   private:
    Averages& averages_;
  };

  Averages(std::span<const TrainedNetwork> networks, double decay);
  /// Of the network with this number, for its optimizer's step; nullptr without a decay.
  optim::Ema* of(std::size_t network) { return averages_.empty() ? nullptr : &averages_[network]; }
  /// After every step whose optimizers were not told.
  void update();
  /// Components "ema", or "generator-ema" of several networks; views of the live state.
  checkpoint::Components state() const;
  /// What a snapshot has of them, with the decay of now; a snapshot without begins at the networks' parameters.
  /// @throws CheckpointError
  void restore(const checkpoint::Components& saved);

 private:
  void exchange();

  std::vector<TrainedNetwork> networks_;
  std::vector<optim::Ema> averages_;
  double decay_;
};

}  // namespace bunchtrain::train
