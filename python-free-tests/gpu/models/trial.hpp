// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Three steps of training by one network in a precision, to be compared with the same in float64 on the CPU.

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/device/precision.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "bunchtrain/parallel/data_parallel.hpp"

namespace bunchtrain::test {

/// A precision and what it may cost: norms of differences, relative to norms.
struct Numerics {
  const char* name;
  device::Precision precision;
  double output = 0, gradient = 0, change = 0;
};

inline std::ostream& operator<<(std::ostream& out, const Numerics& numerics) { return out << numerics.name; }

/// tf32 is a thing of cards.
inline bool runs_on(const Numerics& numerics, c10::Device device) {
  return device.is_cuda() || numerics.precision != device::Precision::tf32;
}

/// What was computed, on the CPU in float64; a tensor per parameter.
struct Trial {
  at::Tensor output;                    ///< of the first step
  std::vector<at::Tensor> gradients;    ///< of the first step
  std::vector<at::Tensor> change;       ///< of the parameters, by three steps
  std::vector<std::string> names = {};  ///< of the parameters
};

struct PassResult {
  at::Tensor output, loss;
};

struct TrialOptions {
  double learning_rate = 0.01;
  std::int64_t samples = 1;
  double loss_scale = 1;  ///< at the start, in float16
};

inline std::vector<at::Tensor> copies(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copied;
  for (const at::Tensor& tensor : tensors) copied.push_back(tensor.detach().cpu().to(at::kDouble).clone());
  return copied;
}

/// Three steps of gradient descent with momentum; `pass` is one forward pass to a mean loss. In float16
/// losses are scaled, as the Trainer does it.
inline Trial run_trial(const std::shared_ptr<torch::nn::Module>& module, c10::Device device,
                       const Numerics& numerics, const TrialOptions& options,
                       const std::function<PassResult()>& pass) {
  parallel::DataParallel parallel(module, comm::Communicator::self(), {.device = device});
  optim::Sgd optimizer(parallel, {.learning_rate = options.learning_rate, .momentum = 0.9});
  double scale = 1;
  if (numerics.precision == device::Precision::float16) {
    scale = options.loss_scale;
    optimizer.scale_losses({.initial = scale});
    parallel.scale_losses_by(optimizer.loss_scale());
  }
  const std::vector<at::Tensor> start = copies(module->parameters());
  Trial trial;
  for (std::int64_t step = 0; step < 3; ++step) {
    const device::PrecisionGuard guard(numerics.precision, device.type());
    const nn::StepContext context(5, step, at::arange(options.samples).to(device));
    const PassResult result = pass();
    parallel.backward(result.loss, {.samples = options.samples});
    if (step == 0) {
      trial.output = result.output.detach().cpu().to(at::kDouble);
      std::vector<at::Tensor> gradients;
      for (const at::Tensor& parameter : module->parameters()) gradients.push_back(parameter.grad() / scale);
      trial.gradients = copies(gradients);
    }
    EXPECT_TRUE(optimizer.step().applied()) << "step " << step + 1;
  }
  trial.change = copies(module->parameters());
  for (std::size_t i = 0; i < start.size(); ++i) trial.change[i] -= start[i];
  for (const auto& item : module->named_parameters()) trial.names.push_back(item.key());
  return trial;
}

inline double norm_of(const at::Tensor& tensor) { return tensor.norm().item<double>(); }

inline double norm_of(const std::vector<at::Tensor>& tensors) {
  double sum = 0;
  for (const at::Tensor& tensor : tensors) sum += tensor.square().sum().item<double>();
  return std::sqrt(sum);
}

/// Every tensor by itself; one that is small beside all may be wrong by a hundredth of their norm.
inline void expect_close(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected,
                         const std::vector<std::string>& names, double tolerance, const char* what) {
  const double all = norm_of(expected);
  EXPECT_GT(all, 0) << what;
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_LE(norm_of(found[i] - expected[i]), tolerance * (norm_of(expected[i]) + 0.01 * all))
        << what << " of " << names[i];
}

inline void expect_close(const Trial& found, const Trial& expected, const Numerics& numerics) {
  EXPECT_LE(norm_of(found.output - expected.output), numerics.output * norm_of(expected.output)) << "output";
  expect_close(found.gradients, expected.gradients, expected.names, numerics.gradient, "gradient");
  expect_close(found.change, expected.change, expected.names, numerics.change, "three updates");
}

}  // namespace bunchtrain::test
