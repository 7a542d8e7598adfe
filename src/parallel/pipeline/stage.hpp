// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One stage of a pipeline: units in order, computed and differentiated one by one.

#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "bunchtrain/nn/unit.hpp"
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
  explicit Stage(std::vector<nn::Unit> units) : units_(std::move(units)) {}

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
  };
  struct Pass {
    std::vector<UnitPass> units = {};
    std::map<std::string, at::Tensor, std::less<>> gradients = {};
  };

  /// Outputs that have a gradient become the roots of the unit's backward.
  static void find_roots(const nn::Unit& unit, const Pass& pass, UnitPass& of_unit);
  static void add_input_gradients(const nn::Unit& unit, Pass& pass, const UnitPass& of_unit,
                                  const std::vector<at::Tensor>& gradients);

  std::vector<nn::Unit> units_;
  std::map<int, Pass> passes_;
};

}  // namespace bunchtrain::parallel
