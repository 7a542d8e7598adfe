// SPDX-License-Identifier: Apache-2.0
// Invariant: a parameter's gradient comes from here whole or not at all. A use that has not pushed (a layer of LibTorch, one that the
// backward pass did not reach) is found by counting the graph's edges to the parameter.
#include "bunchtrain/ops/weight_gradient_queue.hpp"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

#include <map>
#include <set>
#include <utility>

namespace bunchtrain::ops {
namespace {

using torch::autograd::AccumulateGrad;
using torch::autograd::Node;

thread_local std::shared_ptr<WeightGradientQueue> innermost;

/// Where the gradient of what was made of one parameter ends; null if it was made of more.
const AccumulateGrad* end_of(const at::Tensor& weight) {
  const Node* node = torch::autograd::impl::gradient_edge(weight).function.get();
  while (node != nullptr && dynamic_cast<const AccumulateGrad*>(node) == nullptr) {
    const Node* next = nullptr;
    for (const auto& edge : node->next_edges()) {
      if (!edge.is_valid()) continue;
      if (next != nullptr) return nullptr;
      next = edge.function.get();
    }
    node = next;
  }
  return dynamic_cast<const AccumulateGrad*>(node);
}

using Uses = std::map<const AccumulateGrad*, std::int64_t>;

Uses uses_below(const std::vector<at::Tensor>& roots) {
  Uses uses;
  std::set<const Node*> seen;
  std::vector<const Node*> next;
  const auto meet = [&](const Node* node) {
    if (const auto* end = dynamic_cast<const AccumulateGrad*>(node)) {
      ++uses[end];
    } else if (seen.insert(node).second) {
      next.push_back(node);
    }
  };
  for (const at::Tensor& root : roots)
    if (root.grad_fn()) meet(root.grad_fn().get());
  while (!next.empty()) {
    const Node* node = next.back();
    next.pop_back();
    for (const auto& edge : node->next_edges())
      if (edge.is_valid()) meet(edge.function.get());
  }
  return uses;
}

}  // namespace

WeightGradientQueue::Scope::Scope(std::shared_ptr<WeightGradientQueue> queue)
    : outer_(std::exchange(innermost, std::move(queue))) {}

WeightGradientQueue::Scope::~Scope() { innermost = std::move(outer_); }

std::shared_ptr<WeightGradientQueue> WeightGradientQueue::current() noexcept { return innermost; }

void WeightGradientQueue::push(const at::Tensor& weight, std::function<at::Tensor()> gradient) {
  waiting_.push_back({weight, std::move(gradient)});
}

std::vector<at::Tensor> WeightGradientQueue::settle(const std::vector<at::Tensor>& roots) {
  Uses missing = uses_below(roots);  // none of no parameter: what waits for more than one always misses
  for (const Waiting& one : waiting_) --missing[end_of(one.weight)];
  std::erase_if(waiting_, [&](const Waiting& one) { return missing[end_of(one.weight)] != 0; });
  std::vector<at::Tensor> kept;
  std::set<const AccumulateGrad*> told;
  for (const Waiting& one : waiting_)
    if (const AccumulateGrad* end = end_of(one.weight); told.insert(end).second)
      kept.push_back(end->variable);
  return kept;
}

void WeightGradientQueue::run() {
  std::vector<at::Tensor> weights, gradients;
  for (Waiting& one : std::exchange(waiting_, {})) {
    gradients.push_back(one.gradient());
    weights.push_back(std::move(one.weight));
  }
  if (!weights.empty()) torch::autograd::backward(weights, gradients);
}

}  // namespace bunchtrain::ops
