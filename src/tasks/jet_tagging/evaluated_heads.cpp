// SPDX-License-Identifier: Apache-2.0
#include "evaluated_heads.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <optional>
#include <utility>

#include "bunchtrain/models/particle_net.hpp"

namespace bunchtrain::jet_tagging {
namespace {

std::vector<std::string> outputs_of(const EstimatedTarget& head) {
  if (!head.own_width) return {head.name};
  return {head.name, models::width_output(head.name)};
}

}  // namespace

EvaluatedHeads::EvaluatedHeads(const TrainedNetwork& trained, const std::string& data)
    : width_(std::ssize(head_columns(trained.heads))) {
  for (const EstimatedTarget& head : trained.heads)
    heads_.push_back({head, make_target_validation(head, trained.card.target(head.name), {.data = data})});
}

at::Tensor EvaluatedHeads::add(const Batch& batch, const NamedTensors& outputs) {
  const std::int64_t jets = batch.size();
  std::vector<at::Tensor> columns = {at::empty({jets, 0}, at::kDouble)};
  for (const auto& [head, validation] : heads_) {
    const at::Tensor target = batch[head.name].to(at::kCPU, at::kDouble);
    const at::Tensor known = target.isnan().logical_not().nonzero().squeeze(1);
    Batch judged;
    judged.tensors.set(head.name, target.index_select(0, known));
    NamedTensors estimates;
    for (const std::string& name : outputs_of(head))
      estimates.set(name, outputs[name].to(at::kCPU, at::kDouble).index_select(0, known));
    if (known.numel() > 0) validation->add(judged, estimates);  // says what does not fit
    for (const std::string& name : outputs_of(head))
      columns.push_back(outputs[name].to(at::kCPU, at::kDouble).reshape({jets, 1}));
    columns.push_back(target.unsqueeze(1));
  }
  return at::cat(columns, 1);
}

train::ValidationResult EvaluatedHeads::finish(comm::Communicator& ranks) {
  train::ValidationResult all;
  for (const auto& [head, validation] : heads_) {
    const auto found = train::make_heads_validation({{head.name, validation}})->finish(ranks, std::nullopt);
    if (found.metrics.empty()) continue;  // no jet has this target
    all.metrics.insert(all.metrics.end(), found.metrics.begin(), found.metrics.end());
    all.sections.insert(all.sections.end(), found.sections.begin(), found.sections.end());
    all.text += found.text;
  }
  return all;
}

std::vector<std::string> estimate_outputs(const TrainedNetwork& trained) {
  std::vector<std::string> outputs;
  for (const EstimatedTarget& head : trained.heads)
    for (std::string& name : outputs_of(head)) outputs.push_back(std::move(name));
  return outputs;
}

std::vector<std::string> head_columns(const std::vector<EstimatedTarget>& heads) {
  std::vector<std::string> columns;
  for (const EstimatedTarget& head : heads) {
    for (std::string& name : outputs_of(head)) columns.push_back(std::move(name));
    columns.push_back("target_" + head.name);
  }
  return columns;
}

}  // namespace bunchtrain::jet_tagging
