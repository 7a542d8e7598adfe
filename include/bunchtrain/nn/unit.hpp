// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Networks as sequences of named units, which engines may spread over ranks and compute one by one.

#include <ATen/core/Tensor.h>

#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bunchtrain/nn/checkpoint.hpp"
#include "bunchtrain/nn/model.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::nn {

/// A part of a network that nobody cuts: a layer or a block. What a unit far behind it reads is a skip connection; nothing
/// else needs to be said of it.
struct Unit {
  std::string name;
  /// Whose parameters and buffers `forward` uses: a registered part of the network, and of no other unit. Null: it has none.
  std::shared_ptr<torch::nn::Module> module = {};
  std::vector<std::string> reads;   ///< inputs of the network, or what units before this one wrote
  std::vector<std::string> writes;  ///< each name is written once
  /// From tensors as in `reads` to tensors as in `writes`. Changes none of its inputs in place.
  UnitForward forward;
};

/// A unit of one layer, one tensor in and one out: `unit("down1", down1, "x", "half")` of a module holder.
template <class Layer>
requires requires(Layer layer, at::Tensor input) { layer->forward(input); }
Unit unit(std::string name, Layer layer, std::string reads, std::string writes) {
  return {.name = std::move(name),
          .module = layer.ptr(),
          .reads = {std::move(reads)},
          .writes = {std::move(writes)},
          .forward = [layer](const std::vector<at::Tensor>& inputs) mutable {
            return std::vector<at::Tensor>{layer->forward(inputs.front())};
          }};
}

/// A model that is a sequence of units, and so can be trained by a pipeline.
class UnitModel : public Model {
 public:
  /// In the order of computation. The same on all ranks.
  virtual std::vector<Unit> units() = 0;
  /// Inputs of so many samples, on the CPU, with the shapes of real ones, for measurements; empty: not known.
  virtual NamedTensors example_inputs(std::int64_t /*samples*/) const { return {}; }
  /// Which of the tensors that units write are the outputs.
  virtual std::vector<std::string> output_names() const = 0;
  /// All units in order.
  NamedTensors forward(const NamedTensors& inputs) override;

  /// From now on `forward` computes these units again in backward (`checkpoint`) instead of keeping their activations: memory
  /// for time, the same gradients. Replaces what was said before. Engines that compute units themselves do not ask.
  /// @throws ConfigError for a unit that there is not, or that has no module
  void recompute(std::set<std::string> units);
  const std::set<std::string>& recomputed() const noexcept { return recomputed_; }

 private:
  std::set<std::string> recomputed_;
};

/// The module as a sequence of units; nullptr if it is none.
UnitModel* as_unit_model(torch::nn::Module& module) noexcept;

/// Calls a unit on tensors by name and adds what it writes to them.
/// @throws ConfigError if it gives another number of tensors than it says.
void call(const Unit& unit, NamedTensors& values);
/// Calls units in order. What no later unit reads and is not `wanted` is let go behind its last reader: of it only what
/// backward needs stays in memory. @returns what is wanted, of `values` or written
NamedTensors call(std::span<const Unit> units, NamedTensors values, std::span<const std::string> wanted);

/// @throws ConfigError naming the first unit that is wrong: two of one name, nothing that it writes, a tensor that it reads
/// and nobody wrote before, one that is written twice, a module that two units use; or an output that nobody writes.
void validate(std::span<const Unit> units, std::span<const std::string> inputs,
              std::span<const std::string> outputs);

}  // namespace bunchtrain::nn
