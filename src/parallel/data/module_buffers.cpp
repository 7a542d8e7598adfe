// SPDX-License-Identifier: Apache-2.0
#include "module_buffers.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <torch/nn/module.h>

#include <functional>
#include <vector>

namespace bunchtrain::parallel {

namespace {

std::vector<at::Tensor> buffers_of(const torch::nn::Module& module,
                                   const std::function<bool(const at::Tensor&)>& wanted) {
  std::vector<at::Tensor> buffers;
  for (const at::Tensor& buffer : module.buffers()) {
    if (buffer.defined() && buffer.numel() > 0 && wanted(buffer)) buffers.push_back(buffer);
  }
  return buffers;
}

at::Tensor flatten(const std::vector<at::Tensor>& tensors, at::ScalarType dtype) {
  std::vector<at::Tensor> rows;
  for (const at::Tensor& tensor : tensors) rows.push_back(tensor.detach().reshape({-1}).to(dtype));
  return at::cat(rows);
}

void unflatten(const at::Tensor& flat, const std::vector<at::Tensor>& tensors) {
  std::int64_t offset = 0;
  for (const at::Tensor& tensor : tensors) {
    tensor.detach().copy_(flat.narrow(0, offset, tensor.numel()).view(tensor.sizes()));
    offset += tensor.numel();
  }
}

bool is_floating(const at::Tensor& tensor) { return tensor.is_floating_point(); }
bool is_integer(const at::Tensor& tensor) {
  return at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false);
}

}  // namespace

void combine_buffers(torch::nn::Module& module, comm::Communicator& communicator, std::int64_t samples) {
  if (communicator.size() == 1) return;
  const at::NoGradGuard no_grad;
  if (const auto floating = buffers_of(module, is_floating); !floating.empty()) {
    // A rank without samples may hold anything, also NaN: it contributes zeros.
    at::Tensor flat = flatten(floating, at::kDouble);
    if (samples == 0) {
      flat.zero_();
    } else {
      flat.mul_(static_cast<double>(samples));
    }
    at::Tensor message = at::cat({flat, at::full({1}, static_cast<double>(samples), flat.options())});
    communicator.all_reduce(message).wait();
    const double total = message[message.numel() - 1].item<double>();
    if (total > 0) unflatten(message.narrow(0, 0, message.numel() - 1).div_(total), floating);
  }
  if (const auto integers = buffers_of(module, is_integer); !integers.empty()) {
    at::Tensor flat = flatten(integers, at::kLong);
    communicator.all_reduce(flat, comm::ReduceOp::max).wait();
    unflatten(flat, integers);
  }
}

void broadcast_buffers(torch::nn::Module& module, comm::Communicator& communicator, int root) {
  if (communicator.size() == 1) return;
  const at::NoGradGuard no_grad;
  for (const at::Tensor& buffer : buffers_of(module, [](const at::Tensor&) { return true; })) {
    at::Tensor dense = buffer.detach().contiguous();
    communicator.broadcast(dense, root).wait();
    if (!dense.is_same(buffer)) buffer.detach().copy_(dense);
  }
}

NamedTensors floating_buffers(const torch::nn::Module& module) {
  NamedTensors buffers;
  for (const auto& buffer : module.named_buffers())
    if (buffer.value().is_floating_point()) buffers.set(buffer.key(), buffer.value());
  return buffers;
}

StateDict clone(const NamedTensors& tensors) {
  StateDict copy;
  for (const auto& [name, tensor] : tensors) copy.tensors.set(name, tensor.detach().clone());
  return copy;
}

StateDict with_cloned_buffers(torch::nn::Module& module) {
  StateDict state;
  for (const auto& parameter : module.named_parameters())
    state.tensors.set(parameter.key(), parameter.value().detach());
  for (const auto& buffer : module.named_buffers())
    if (buffer.value().defined()) state.tensors.set(buffer.key(), buffer.value().detach().clone());
  return state;
}

void copy_into(const NamedTensors& target, const NamedTensors& source) {
  const at::NoGradGuard no_gradients;
  for (const auto& [name, tensor] : target) at::Tensor(tensor).copy_(source[name]);
}

}  // namespace bunchtrain::parallel
