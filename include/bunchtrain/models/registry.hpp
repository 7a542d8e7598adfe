// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Networks by name, for programs that learn from a flag, a snapshot or a bundle which one to make: the
/// reference models, and those that a program registers.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bunchtrain/models/model_description.hpp"

namespace torch::nn {
class Module;
}

namespace bunchtrain::models {

/// Makes a network of the fields of a description. The module is an `nn::Model` whose `description()` reads
/// back to an equal one.
using ModelFactory = std::function<std::shared_ptr<torch::nn::Module>(const ModelDescription&)>;

/// Makes a network of the program's own known by name, to trainers (`--model NAME`) and to whoever rebuilds
/// it from a snapshot or a bundle:
/// `register_model("deep-set", [](const models::ModelDescription& d) {
///    return std::make_shared<DeepSetImpl>(d.integer("num_features", 7), d.integer("num_classes", 2)); })`.
/// A classifier is offered num_features, num_classes and seed. Call it first thing in `main`; not
/// thread-safe.
/// @throws ConfigError for a name that is taken, empty or not one word.
void register_model(std::string name, ModelFactory factory);

/// "particlenet", "particlenet-lite", "3dgan-generator", then what was registered.
std::vector<std::string> names();

/// @throws ConfigError for an unknown name, with those known; a field of the wrong type or value; a field
/// that the model does not have; a factory that makes no `nn::Model`.
std::shared_ptr<torch::nn::Module> create(const ModelDescription& description);
/// The same from `ModelDescription::to_json`, or the line that version 0.1 wrote.
std::shared_ptr<torch::nn::Module> create_from(std::string_view text);

/// Trainable numbers of a module.
std::int64_t count_parameters(const torch::nn::Module& module);

}  // namespace bunchtrain::models
