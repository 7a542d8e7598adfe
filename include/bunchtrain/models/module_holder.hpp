// SPDX-License-Identifier: Apache-2.0
#pragma once
/// How a model is held: LibTorch's shared handle, made from options in braces.

#include <torch/nn/pimpl.h>

#include <memory>
#include <utility>

namespace bunchtrain::models {

/// `torch::nn::ModuleHolder` whose constructor also takes `{.num_features = 7}`: LibTorch's own forwards its
/// arguments, and a list in braces has no type to forward.
template <class Impl, class Options>
class ModuleHolder : public torch::nn::ModuleHolder<Impl> {
 public:
  using torch::nn::ModuleHolder<Impl>::ModuleHolder;
  explicit ModuleHolder(Options options)
      : torch::nn::ModuleHolder<Impl>(std::make_shared<Impl>(std::move(options))) {}
};

}  // namespace bunchtrain::models
