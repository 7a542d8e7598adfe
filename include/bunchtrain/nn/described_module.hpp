// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Networks that say how to build them again.

#include <string>

namespace torch::nn {
class Module;
}

namespace bunchtrain::nn {

/// Derive a network from it beside `torch::nn::Module`, and the Trainer writes its description into every
/// snapshot, from which `bunchtrain evaluate` builds it.
class DescribedModule {
 public:
  virtual ~DescribedModule() = default;
  /// One line, "NAME key=value ...", as `models::describe` writes it and `models::create_from` reads it.
  virtual std::string description() const = 0;
};

/// The description of a module; empty if it has none.
std::string describe(const torch::nn::Module& module);

}  // namespace bunchtrain::nn
