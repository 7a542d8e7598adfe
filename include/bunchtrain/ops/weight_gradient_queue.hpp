// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Gradients of weights that are computed later than those of inputs, as schedules of pipelines want them that fill gaps with them.

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace bunchtrain::ops {

/// Layers whose forward pass runs while a queue is `current` on their thread push to it what the gradient of their weight needs
/// when a backward pass asks for gradients of inputs alone (`torch::autograd::grad`). Where such a pass has asked for all, or
/// shall be differentiated itself, nothing is pushed. `ops::conv3d` and `ops::linear` do so; weights of other layers stay
/// autograd's.
///
/// One backward pass at a time, from any thread.
class WeightGradientQueue {
 public:
  /// Makes a queue current on this thread.
  class Scope {
   public:
    explicit Scope(std::shared_ptr<WeightGradientQueue> queue);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::shared_ptr<WeightGradientQueue> outer_;
  };
  /// Null without a scope.
  static std::shared_ptr<WeightGradientQueue> current() noexcept;

  /// @param weight a parameter, or what a layer made of one
  /// @param gradient computes its gradient, once
  void push(const at::Tensor& weight, std::function<at::Tensor()> gradient);

  /// Keeps what waits for parameters all of whose uses in the graph of `roots` have pushed, and forgets the rest: autograd has to
  /// be asked for the gradients of other parameters. @return the parameters kept
  std::vector<at::Tensor> settle(const std::vector<at::Tensor>& roots);

  /// Computes what waits and adds it to the gradients of the parameters, in the order in which it came.
  void run();

 private:
  struct Waiting {
    at::Tensor weight;
    std::function<at::Tensor()> gradient;
  };
  std::vector<Waiting> waiting_;
};

}  // namespace bunchtrain::ops
