// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What a network is trained for: from its outputs and a batch to losses.

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

#include "bunchtrain/tensor/batch.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::nn {

/// Losses of one batch, means over its samples or elements (`MeanOver`). Of an empty batch 0, with a graph.
struct Losses {
  at::Tensor total;  ///< scalar: what backward begins at
  NamedTensors terms =
      {};  ///< scalars that it is made of, by head, for records; empty: nothing but the total

  Losses() = default;
  Losses(at::Tensor total, NamedTensors terms = {}) : total(std::move(total)), terms(std::move(terms)) {}
};

/// What a loss is a mean over. Ranks and passes have different numbers of them, and count by these numbers.
enum class MeanOver {
  samples,   ///< jets, showers, events
  elements,  ///< of ragged datasets: the hits (particles) of all samples, `Batch::elements`
};

/// Called by an engine where the outputs are, for training with gradients and for validation without. Keeps
/// no state and draws no random numbers, so that a pass may be cut into microbatches.
class Objective {
 public:
  using Function = std::function<Losses(const NamedTensors& outputs, const Batch& batch)>;

  Objective() = default;
  /// Any function of outputs and batch that gives `Losses` or a scalar tensor.
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, Objective> && std::constructible_from<Function, F>)
      Objective(F&& function, MeanOver mean_over = MeanOver::samples)
      : function_(std::forward<F>(function)), mean_over_(mean_over) {}

  Losses operator()(const NamedTensors& outputs, const Batch& batch) const {
    return function_(outputs, batch);
  }
  explicit operator bool() const noexcept { return static_cast<bool>(function_); }

  MeanOver mean_over() const noexcept { return mean_over_; }
  /// How many samples or elements this rank's losses of a batch are means over, may be 0 ...
  std::int64_t count(const Batch& batch) const noexcept {
    return mean_over_ == MeanOver::elements ? batch.elements : batch.size();
  }
  /// ... and how many the whole step has, over all ranks and passes.
  std::int64_t global_count(const Batch& batch) const noexcept {
    return mean_over_ == MeanOver::elements ? batch.global_elements : batch.global_size();
  }

 private:
  Function function_;
  MeanOver mean_over_ = MeanOver::samples;
};

}  // namespace bunchtrain::nn
