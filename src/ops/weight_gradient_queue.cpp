// SPDX-License-Identifier: Apache-2.0
// Invariant: a parameter's gradient comes from here whole or not at all. A use that has not pushed (a layer of LibTorch, one that the
// backward pass did not reach) is found by counting the graph's edges to the parameter and to what was made of it.
#include "bunchtrain/ops/weight_gradient_queue.hpp"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace bunchtrain::ops {
namespace {

using torch::autograd::AccumulateGrad;
using torch::autograd::Node;

thread_local std::shared_ptr<WeightGradientQueue> innermost;

using Way = std::vector<const Node*>;
using Counts = std::map<const Node*, std::int64_t>;

/// From what was made of one parameter to where its gradient ends; empty if it was made of more.
Way way_from(const at::Tensor& weight) {
  Way way;
  const Node* node = torch::autograd::impl::gradient_edge(weight).function.get();
  while (node != nullptr) {
    way.push_back(node);
    if (dynamic_cast<const AccumulateGrad*>(node) != nullptr) return way;
    const Node* next = nullptr;
    for (const auto& edge : node->next_edges()) {
      if (!edge.is_valid()) continue;
      if (next != nullptr) return {};
      next = edge.function.get();
    }
    node = next;
  }
  return {};
}

/// The edges to each node.
Counts edges_below(const std::vector<at::Tensor>& roots) {
  Counts edges;
  std::vector<const Node*> next;
  const auto meet = [&](const Node* node) {
    if (++edges[node] == 1) next.push_back(node);
  };
  for (const at::Tensor& root : roots)
    if (root.grad_fn()) meet(root.grad_fn().get());
  while (!next.empty()) {
    const Node* node = next.back();
    next.pop_back();
    for (const auto& edge : node->next_edges())
      if (edge.is_valid()) meet(edge.function.get());
  }
  return edges;
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
  Counts unmet = edges_below(roots);
  std::vector<Way> ways;
  std::set<const Node*> met;
  for (const Waiting& one : waiting_)
    for (const Node* node : ways.emplace_back(way_from(one.weight))) {
      --unmet[node];
      if (!met.insert(node).second) break;  // from here on the two are one
    }
  std::set<const Node*> lacking = {nullptr};
  const auto end_of = [](const Way& way) { return way.empty() ? nullptr : way.back(); };
  for (const Way& way : ways)
    if (std::ranges::any_of(way, [&](const Node* node) { return unmet[node] != 0; }))
      lacking.insert(way.back());
  std::vector<Waiting> whole;
  std::vector<at::Tensor> kept;
  std::set<const Node*> told;
  for (std::size_t i = 0; i < ways.size(); ++i) {
    const Node* const end = end_of(ways[i]);
    if (lacking.contains(end)) continue;
    whole.push_back(std::move(waiting_[i]));
    if (told.insert(end).second) kept.push_back(dynamic_cast<const AccumulateGrad&>(*end).variable);
  }
  waiting_ = std::move(whole);
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
