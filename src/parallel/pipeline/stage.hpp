// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One stage of a pipeline: units in order, computed and differentiated one by one.

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bunchtrain/nn/unit.hpp"
#include "bunchtrain/ops/weight_gradient_queue.hpp"
#include "bunchtrain/tensor/named_tensors.hpp"

namespace bunchtrain::parallel {

/// Tensors without a graph, and which of them have one where they come from: their gradients are wanted.
struct StageValues {
  NamedTensors tensors = {};
  std::set<std::string, std::less<>> differentiable = {};

  void set(const std::string& name, const at::Tensor& tensor);
};

/// Keeps of each microbatch what its backward needs, until that is done.
class Stage {
 public:
  /// @param splits_backward whether `input_gradient` and `weight_gradient` are called, not `backward`
  Stage(std::vector<nn::Unit> units, bool splits_backward)
      : units_(std::move(units)), splits_backward_(splits_backward) {}

  /// @param inputs of the network
  /// @param entering what units of other stages wrote
  /// @return all that is known afterwards: `entering`, and what this stage's units write
  StageValues forward(int microbatch, const NamedTensors& inputs, StageValues entering);

  /// Adds to the gradient of a tensor that this stage wrote or that the objective saw.
  void add_gradient(int microbatch, const std::string& name, const at::Tensor& gradient);
  /// Gradients of parameters and of what entered.
  void backward(int microbatch);
  /// Gradients of what entered; `weight_gradient` follows.
  void input_gradient(int microbatch);
  void weight_gradient(int microbatch);
  /// Of a tensor that entered, after `backward` or `input_gradient`; undefined if nothing depends on it. Once.
  at::Tensor take_gradient(int microbatch, const std::string& name);
  /// Forgets a microbatch, or what is left of all.
  void forget(int microbatch) { passes_.erase(microbatch); }
  void forget() { passes_.clear(); }

  const std::vector<nn::Unit>& units() const noexcept { return units_; }

 private:
  struct UnitPass {
    std::vector<at::Tensor> inputs = {};   ///< leaves
    std::vector<at::Tensor> outputs = {};  ///< with their graph
    std::vector<at::Tensor> roots = {}, root_gradients = {};
    std::shared_ptr<ops::WeightGradientQueue> own_layers = nullptr;
    std::vector<at::Tensor> parameters = {};  ///< whose gradients autograd is asked for
  };
  struct Pass {
    std::vector<UnitPass> units = {};
    std::map<std::string, at::Tensor, std::less<>> gradients = {};
  };

  /// Outputs that have a gradient become the roots of the unit's backward.
  static void find_roots(const nn::Unit& unit, const Pass& pass, UnitPass& of_unit);
  static void add_input_gradients(const nn::Unit& unit, Pass& pass, const UnitPass& of_unit,
                                  const std::vector<at::Tensor>& gradients);

  /// After the gradients of inputs: what is kept for those of weights.
  static void keep_for_weights(const nn::Unit& unit, UnitPass& of_unit);

  std::vector<nn::Unit> units_;
  bool splits_backward_;
  std::map<int, Pass> passes_;
};

}  // namespace bunchtrain::parallel
