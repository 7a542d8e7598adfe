// SPDX-License-Identifier: Apache-2.0
#include "plain_engine.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/softmax.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/model.hpp"
#include "network_scope.hpp"
#include "raw_rows.hpp"

namespace bunchtrain::infer {
namespace {

/// Runs a network: errors of LibTorch become ours.
template <class Action>
auto within_libtorch(const PredictorOptions& options, const Action& action) {
  try {
    const NetworkScope scope(options.device, options.precision);
    return action();
  } catch (const c10::Error& error) {
    throw ConfigError(
        fmt::format("the network does not take these tensors: {}", error.what_without_backtrace()));
  }
}

/// Tensors where the network is, as wide as it is.
NamedTensors bring_to(const LoadedNetwork& network, c10::Device device, const NamedTensors& tensors) {
  NamedTensors there;
  for (const auto& [name, tensor] : tensors) {
    const bool widens = network.in_double && tensor.is_floating_point();
    there.set(name, tensor.to(device, widens ? at::kDouble : tensor.scalar_type()));
  }
  return there;
}

/// What autocast left in 16 bits is float32 for callers.
NamedTensors widen(const NamedTensors& tensors) {
  NamedTensors wide;
  for (const auto& [name, tensor] : tensors) {
    const bool narrow = tensor.scalar_type() == at::kBFloat16 || tensor.scalar_type() == at::kHalf;
    wide.set(name, narrow ? tensor.to(at::kFloat) : tensor);
  }
  return wide;
}

NamedTensors copies_of(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) copies.set(name, tensor.clone());
  return copies;
}

}  // namespace

PlainEngine::PlainEngine(const std::filesystem::path& bundle, const PredictorOptions& options,
                         std::optional<device::PassGraphs> graphs)
    : options_(options) {
  options_.device = require_device(options.device, options.precision);
  if (!graphs && options.cuda_graph == device::CudaGraph::on && !options_.device.is_cuda())
    throw ConfigError("cuda_graph", "on", "automatic or off on the CPU: a CUDA graph repeats work of a GPU");
  network_ = within_libtorch({}, [&] { return load_network(bundle); });
  if (network_.in_double && options.precision != device::Precision::float32)
    throw ConfigError("precision", device::to_string(options.precision),
                      fmt::format("float32 for {}, whose network is in double precision", bundle.string()));
  within_libtorch(options_, [&] { network_.module->to(options_.device); });
  tensors_ = nn::as_model(*network_.module)->input_names();
  forwards_ = repeated(graphs, &PlainEngine::forward);
  const auto& card = network_.card;
  if (!card) return;
  pipeline_.emplace(detail::inputs_only(*card));
  inputs_ = detail::describe_columns(*card, pipeline_->required_columns(), network_.ranges);
  outputs_ = network_.classes;
  outputs_.insert(outputs_.end(), network_.estimates.begin(), network_.estimates.end());
  scores_ = repeated(graphs, &PlainEngine::score);
}

std::unique_ptr<device::CapturedPasses> PlainEngine::repeated(
    const std::optional<device::PassGraphs>& graphs,
    NamedTensors (PlainEngine::*pass)(const NamedTensors&) const) const {
  device::CapturedPassesOptions options{
      .wish = options_.cuda_graph, .device = options_.device, .most_graphs = options_.most_graphs};
  if (graphs) options.graphs = *graphs;
  if (!graphs && !options_.device.is_cuda()) options.wish = device::CudaGraph::off;  // automatic, on the CPU
  if (!graphs) options.graphs.create = [gpu = options_.device] { return device::create_step_graph(gpu); };
  if (!nn::as_model(*network_.module)->is_capturable())
    options.obstacle = "the network does not say that its passes wait for nothing (nn::Model::is_capturable)";
  return std::make_unique<device::CapturedPasses>(
      std::move(options),
      [this](const NamedTensors& tensors) { return bring_to(network_, options_.device, tensors); },
      [this, pass](const NamedTensors& tensors) { return (this->*pass)(tensors); });
}

NamedTensors PlainEngine::forward(const NamedTensors& tensors) const {
  return widen(nn::as_model(*network_.module)->forward(tensors));
}

/// "scores" [jets, outputs] float64.
NamedTensors PlainEngine::score(const NamedTensors& tensors) const {
  const NamedTensors given = forward(tensors);
  std::vector<at::Tensor> columns = {at::softmax(given["logits"].to(at::kDouble), 1)};
  for (const std::string& estimate : network_.estimates)
    columns.push_back(given[estimate].to(at::kDouble).reshape({-1, 1}));
  return {{"scores", at::cat(columns, 1).contiguous()}};
}

/// What the network reads.
NamedTensors PlainEngine::needed_of(const NamedTensors& tensors) const {
  NamedTensors needed;
  for (const std::string& name : tensors_) needed.set(name, tensors[name]);
  return needed;
}

device::GraphUse PlainEngine::graph_use() const {
  device::GraphUse all = forwards_->use();
  if (!scores_) return all;
  const device::GraphUse of_jets = scores_->use();
  all.graphs += of_jets.graphs;
  all.repeated += of_jets.repeated;
  all.eager += of_jets.eager;
  if (all.why_eager.empty()) all.why_eager = of_jets.why_eager;
  return all;
}

void PlainEngine::run(const RawJets& jets, std::span<double> scores, Scratch& scratch) const {
  if (!pipeline_)
    throw ConfigError(
        fmt::format("the network scores no jets: give it tensors ({})", fmt::join(tensors_, ", ")));
  const auto width = static_cast<std::int64_t>(outputs_.size());
  const detail::RawRows rows(inputs_, jets, detail::counts_particles(*network_.card));
  detail::require_size(scores, jets.count, outputs_);
  for (std::int64_t first = 0; first < jets.count; first += options_.batch) {
    const RawJets::Range range{first, std::min(options_.batch, jets.count - first)};
    rows.copy(range, scratch.raw);
    scratch.rows.resize(static_cast<std::size_t>(range.number));
    std::iota(scratch.rows.begin(), scratch.rows.end(), 0);
    within_libtorch(options_, [&] {
      scores_->run(needed_of(pipeline_->evaluate(scratch.raw, scratch.rows).tensors),
                   [&](const NamedTensors& outputs, bool /*lent*/) {
                     const at::Tensor batch = outputs["scores"].cpu();
                     std::copy_n(batch.const_data_ptr<double>(), range.number * width,
                                 scores.data() + first * width);
                   });
    });
    if (scratch.counter) scratch.counter->count(scratch.rows);
  }
}

NamedTensors PlainEngine::run(const NamedTensors& inputs) const {
  const NamedTensors needed = needed_of(inputs);
  NamedTensors found;
  within_libtorch(options_, [&] {
    forwards_->run(
        needed, [&](const NamedTensors& outputs, bool lent) { found = lent ? copies_of(outputs) : outputs; });
  });
  return found;
}

}  // namespace bunchtrain::infer
