// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/unit.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::nn {

NamedTensors UnitModel::forward(const NamedTensors& inputs) {
  std::vector<Unit> sequence = units();
  for (Unit& unit : sequence)
    if (recomputed_.contains(unit.name))
      unit.forward = [module = unit.module, forward = std::move(unit.forward)](
                         const std::vector<at::Tensor>& in) { return checkpoint(*module, forward, in); };
  return call(sequence, inputs, output_names());
}

void UnitModel::recompute(std::set<std::string> names) {
  std::set<std::string> known;
  for (const Unit& unit : units())
    if (unit.module != nullptr) known.insert(unit.name);
  for (const std::string& name : names)
    if (!known.contains(name))
      throw ConfigError("units", name, fmt::format("units with a module: {}", fmt::join(known, ", ")));
  recomputed_ = std::move(names);
}

UnitModel* as_unit_model(torch::nn::Module& module) noexcept { return dynamic_cast<UnitModel*>(&module); }

void call(const Unit& unit, NamedTensors& values) {
  std::vector<at::Tensor> inputs;
  for (const std::string& name : unit.reads) inputs.push_back(values[name]);
  std::vector<at::Tensor> outputs = unit.forward(inputs);
  if (outputs.size() != unit.writes.size())
    throw ConfigError(fmt::format("unit '{}' gave {} tensors, and says that it writes {} ({})", unit.name,
                                  outputs.size(), unit.writes.size(), fmt::join(unit.writes, ", ")));
  for (std::size_t i = 0; i < outputs.size(); ++i) values.set(unit.writes[i], std::move(outputs[i]));
}

NamedTensors call(std::span<const Unit> units, NamedTensors values, std::span<const std::string> wanted) {
  std::map<std::string_view, std::size_t> last_reader;
  for (std::size_t i = 0; i < units.size(); ++i)
    for (const std::string& read : units[i].reads) last_reader[read] = i;
  for (const std::string& name : wanted) last_reader[name] = units.size();
  for (std::size_t i = 0; i < units.size(); ++i) {
    call(units[i], values);
    for (const std::string& read : units[i].reads)
      if (last_reader.at(read) == i) values.set(read, at::Tensor());
  }
  NamedTensors results;
  for (const std::string& name : wanted) results.set(name, values[name]);
  return results;
}

void validate(std::span<const Unit> units, std::span<const std::string> inputs,
              std::span<const std::string> outputs) {
  std::map<std::string, std::string> writers;  // of each tensor
  for (const std::string& input : inputs) writers[input] = "the batch";
  std::set<std::string> names;
  std::map<const torch::nn::Module*, std::string> users;
  for (const Unit& unit : units) {
    if (unit.name.empty() || !names.insert(unit.name).second)
      throw ConfigError(fmt::format("units need names, each its own: '{}'", unit.name));
    if (unit.writes.empty() || !unit.forward)
      throw ConfigError(fmt::format("unit '{}' writes nothing: give it `forward` and `writes`", unit.name));
    for (const std::string& read : unit.reads)
      if (!writers.contains(read))
        throw ConfigError(fmt::format(
            "unit '{}' reads '{}', which is no input of the network ({}) and nothing that a unit before it writes",
            unit.name, read, fmt::join(inputs, ", ")));
    for (const std::string& written : unit.writes)
      if (const auto [first, is_new] = writers.emplace(written, "unit '" + unit.name + "'"); !is_new)
        throw ConfigError(
            fmt::format("unit '{}' writes '{}', which is of {}: each tensor needs a name of its own",
                        unit.name, written, first->second));
    if (unit.module == nullptr) continue;
    if (const auto [first, is_new] = users.emplace(unit.module.get(), unit.name); !is_new)
      throw ConfigError(
          fmt::format("units '{}' and '{}' use the same module: one unit must have all of its uses",
                      first->second, unit.name));
  }
  for (const std::string& output : outputs)
    if (!writers.contains(output))
      throw ConfigError(fmt::format("no unit writes '{}', which is an output of the network", output));
}

}  // namespace bunchtrain::nn
