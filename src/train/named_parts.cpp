// SPDX-License-Identifier: Apache-2.0
#include "named_parts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train::detail {
namespace {

const at::Tensor& tensor_of(const Batch& batch, const std::string& name, std::string_view card_entry) {
  if (const at::Tensor* tensor = batch.tensors.find(name)) return *tensor;
  throw ConfigError(fmt::format("the batch has no tensor '{}': the data card has no {}", name, card_entry));
}

}  // namespace

const at::Tensor& output_of(const NamedTensors& outputs, const std::string& name) {
  if (const at::Tensor* output = outputs.find(name)) return *output;
  std::vector<std::string> present;
  for (const auto& entry : outputs) present.push_back(entry.name);
  throw ConfigError(fmt::format("the network has no output '{}'; it gives {}", name,
                                present.empty() ? "none" : fmt::format("{}", fmt::join(present, ", "))));
}

const at::Tensor& label_of(const Batch& batch, const std::string& name) {
  return tensor_of(batch, name, "[label]: of which column, and its classes");
}

const at::Tensor& target_of(const Batch& batch, const std::string& name) {
  return tensor_of(batch, name, fmt::format("entry '{}' in [targets]", name));
}

}  // namespace bunchtrain::train::detail
