// SPDX-License-Identifier: Apache-2.0
#pragma once
/// A step that a program runs by itself: for several networks with passes of their own.

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/device/late_copy.hpp"
#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::train {

/// A named loss term of a step that does its own passes: "discriminator_real", "generator_energy".
struct LossTerm {
  std::string name;
  double value = 0;
};

/// The loss terms of one step: numbers, or scalars of a device on their way to the host.
class LossTerms {
 public:
  LossTerms() = default;
  LossTerms(std::vector<LossTerm> known) : known_(std::move(known)) {}
  /// Scalars of one device, with or without a graph. One copy, for which a GPU's host does not wait:
  /// `scalar.item<double>()` would make it wait for all that the step has enqueued.
  LossTerms(const NamedTensors& scalars);

  bool empty() const noexcept { return known_.empty(); }
  /// Whether `values` returns without waiting.
  bool ready() const { return late_.ready(); }
  std::vector<LossTerm> values() const;

 private:
  std::vector<LossTerm> known_;  ///< their names only, if the numbers are late
  device::LateCopy late_;
};

/// For several networks: runs its own passes (`DataParallel::backward`) and updates (`Optimizer::step`), in
/// any order and number. Returns its losses, means over this rank's samples, the same terms on every rank and
/// in every step; the first is the one shown. All of them are kept, averaged over ranks.
using ManualStep = std::function<LossTerms(const Batch&)>;

}  // namespace bunchtrain::train
