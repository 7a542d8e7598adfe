// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Activation checkpointing: a part of a network keeps its inputs only, and is computed again in backward.

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace torch::nn {
class Module;
}

namespace bunchtrain::nn {

/// Computes a part of a network: tensors in, tensors out.
using UnitForward = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>;

/// `forward(inputs)` whose intermediate results are dropped at once and made again when backward comes to it (Chen et
/// al., 1604.06174): memory for the time of one more forward pass. The gradients are those of `forward` itself, to the
/// bit where its operations are deterministic.
///
/// The second pass sees what the first saw: the random numbers of LibTorch's generators, the `StepContext` (without
/// one, the unit gets one of its own, so that dropout draws the same again), autocast, and the mode of the modules as
/// long as nobody changes it before backward. It leaves the buffers of `unit` (running statistics) as the first pass left
/// them, and computes statistics over ranks again: all ranks do, in the same order. Units may be nested. Without
/// gradients being recorded it is `forward(inputs)`.
///
/// @param unit whose parameters `forward` uses, and no others; it must live until backward is done
/// @throws ConfigError if backward finds that the second pass gave another number of outputs, or other shapes. Gradients
/// of gradients through it are an error of LibTorch.
std::vector<at::Tensor> checkpoint(torch::nn::Module& unit, UnitForward forward,
                                   std::vector<at::Tensor> inputs);
/// The same for one tensor in and one out.
at::Tensor checkpoint(torch::nn::Module& unit, std::function<at::Tensor(const at::Tensor&)> forward,
                      at::Tensor input);

}  // namespace bunchtrain::nn
