// SPDX-License-Identifier: Apache-2.0
// Optimizers on arenas of a GPU against the same on the CPU.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/device/detail/current_stream.hpp"
#include "bunchtrain/device/detail/gpu_situation.hpp"
#include "bunchtrain/optim/adam.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "bunchtrain/optim/ema.hpp"
#include "bunchtrain/optim/gradient_norm.hpp"
#include "bunchtrain/optim/ranger.hpp"
#include "bunchtrain/optim/registry.hpp"
#include "bunchtrain/optim/rmsprop.hpp"
#include "bunchtrain/optim/sgd.hpp"
#include "gpu/nn/no_synchronisation.hpp"
#include "unit/optim/training_problem.hpp"

namespace bunchtrain::optim {
namespace {

using Factory = std::function<std::unique_ptr<Optimizer>(tensor::ParameterArenas&)>;

struct Optimized {
  Optimized(std::vector<at::Tensor> start, const Factory& create)
      : parameters(std::move(start)), arenas(arenas_of(parameters)), optimizer(create(arenas)) {}
  void prepare(int number) {
    for (auto& arena : arenas) {
      arena.begin_pass();
      arena.zero_gradients();
    }
    backward(parameters, number);
  }
  StepReport step(int number, const StepOptions& options) {
    prepare(number);
    return optimizer->step(options);
  }

  std::vector<at::Tensor> parameters;
  tensor::ParameterArenas arenas;
  std::unique_ptr<Optimizer> optimizer;
};

void expect_same_on_gpu(const Factory& create) {
  const auto start = make_parameters();
  std::vector<at::Tensor> on_gpu;
  for (const auto& parameter : start) on_gpu.push_back(parameter.detach().cuda().requires_grad_());
  Optimized cpu(copies_of(start), create);
  Optimized gpu(on_gpu, create);
  for (int step = 1; step < 14; ++step) {
    const StepReport expected = cpu.step(step, {.clip_norm = 3, .check_finite = true});
    const StepReport found = gpu.step(step, {.clip_norm = 3, .check_finite = true});
    EXPECT_NEAR(found.gradient_norm(), expected.gradient_norm(), 1e-12 * expected.gradient_norm());
  }
  std::vector<at::Tensor> back;
  for (const auto& parameter : gpu.parameters) back.push_back(parameter.detach().cpu());
  expect_equal(back, cpu.parameters, 1e-12);
}

TEST(OptimizersGpuTest, EqualTheCpu) {
  expect_same_on_gpu(
      [](auto& arenas) { return std::make_unique<Sgd>(arenas, SgdOptions{.learning_rate = 0.05}); });
  expect_same_on_gpu([](auto& arenas) {
    return std::make_unique<Sgd>(arenas,
                                 SgdOptions{.learning_rate = 0.05, .momentum = 0.9, .nesterov = true});
  });
  expect_same_on_gpu(
      [](auto& arenas) { return std::make_unique<Adam>(arenas, AdamOptions{.weight_decay = 0.1}); });
  expect_same_on_gpu(
      [](auto& arenas) { return std::make_unique<AdamW>(arenas, AdamWOptions{.weight_decay = 0.1}); });
  expect_same_on_gpu([](auto& arenas) { return std::make_unique<Ranger>(arenas, RangerOptions{}); });
  expect_same_on_gpu(
      [](auto& arenas) { return std::make_unique<Rmsprop>(arenas, RmspropOptions{.momentum = 0.5}); });
  expect_same_on_gpu(
      [](auto& arenas) { return std::make_unique<Rmsprop>(arenas, RmspropOptions::keras3()); });
  for (const std::string& name : names())
    expect_same_on_gpu([&](auto& arenas) { return create(name, arenas, {.weight_decay = 0.1}); });
}

TEST(OptimizersGpuTest, ANormGivenByHandIsClippedWith) {
  std::vector<at::Tensor> on_gpu;
  for (const auto& parameter : make_parameters())
    on_gpu.push_back(parameter.detach().cuda().requires_grad_());
  const at::Tensor before = on_gpu[0].detach().clone();
  Optimized gpu(on_gpu,
                [](auto& arenas) { return std::make_unique<Sgd>(arenas, SgdOptions{.learning_rate = 0.1}); });
  gpu.prepare(1);
  EXPECT_TRUE(gradient_norm(gpu.arenas).is_cuda());
  const at::Tensor norm = gradient_norm(gpu.arenas) * 2;
  const double expected = norm.item<double>();
  const StepReport report = gpu.optimizer->step({.clip_norm = 0.5 * expected, .gradient_norm = norm});
  EXPECT_EQ(report.gradient_norm(), expected);
  EXPECT_LE((on_gpu[0] - (before - 0.05 * on_gpu[0].grad())).abs().max().item<double>(), 1e-14);
  EXPECT_THROW(gpu.optimizer->step({.gradient_norm = norm.cpu()}), ConfigError);
}

TEST(OptimizersGpuTest, AGradientThatIsNotFiniteChangesNothingAndTheHostGoesOn) {
  const Factory create = [](auto& arenas) { return std::make_unique<AdamW>(arenas, AdamWOptions{}); };
  const auto start = make_parameters();
  std::vector<at::Tensor> on_gpu;
  for (const auto& parameter : start) on_gpu.push_back(parameter.detach().cuda().requires_grad_());
  Optimized cpu(copies_of(start), create);
  Optimized gpu(on_gpu, create);
  const StepOptions options{.clip_norm = 3, .check_finite = true};
  gpu.step(1, options);  // loads the kernels
  cpu.step(1, options);
  for (int step = 2; step < 8; ++step) {
    const bool bad = step % 3 == 0;
    const StepOptions scaled{
        .clip_norm = 3, .gradient_scale = bad ? std::nan("") : 1.0, .check_finite = true};
    const StepReport expected = cpu.step(step, scaled);
    gpu.prepare(step);
    const auto without_waiting = [&] {
      const test::NoSynchronisation guard;
      return gpu.optimizer->step(scaled);
    };
    const StepReport found = without_waiting();
    EXPECT_EQ(found.applied(), !bad);
    EXPECT_EQ(expected.applied(), !bad);
    EXPECT_EQ(gpu.optimizer->steps(), cpu.optimizer->steps());
  }
  std::vector<at::Tensor> back;
  for (const auto& parameter : gpu.parameters) back.push_back(parameter.detach().cpu());
  expect_equal(back, cpu.parameters, 1e-12);
}

TEST(OptimizersGpuTest, LossScalesMoveAsOnTheCpuAndTheHostGoesOn) {
  const Factory create = [](auto& arenas) {
    auto optimizer = std::make_unique<AdamW>(arenas, AdamWOptions{});
    optimizer->scale_losses({.initial = 1024, .interval = 2});
    return optimizer;
  };
  const auto start = make_parameters();
  std::vector<at::Tensor> on_gpu;
  for (const auto& parameter : start) on_gpu.push_back(parameter.detach().cuda().requires_grad_());
  Optimized cpu(copies_of(start), create);
  Optimized gpu(on_gpu, create);
  const auto step_of = [](Optimized& side, int step, bool bad) {
    side.prepare(step);
    for (const auto& parameter : side.parameters)
      parameter.mutable_grad().mul_(side.optimizer->loss_scale()).mul_(bad ? std::nan("") : 1.0);
    return side.optimizer->step({.clip_norm = 3});
  };
  step_of(gpu, 1, false);  // loads the kernels
  step_of(cpu, 1, false);
  std::vector<StepReport> found, expected;
  {
    const test::NoSynchronisation guard;
    for (int step = 2; step < 12; ++step) found.push_back(step_of(gpu, step, step % 4 == 0));
  }
  for (int step = 2; step < 12; ++step) expected.push_back(step_of(cpu, step, step % 4 == 0));
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].applied(), expected[i].applied());
    if (!found[i].applied()) continue;
    EXPECT_NEAR(found[i].gradient_norm(), expected[i].gradient_norm(), 1e-12 * found[i].gradient_norm());
  }
  EXPECT_TRUE(gpu.optimizer->loss_scale().is_cuda());
  EXPECT_EQ(gpu.optimizer->loss_scale().item<double>(), cpu.optimizer->loss_scale().item<double>());
  EXPECT_EQ(gpu.optimizer->steps(), cpu.optimizer->steps());
  std::vector<at::Tensor> back;
  for (const auto& parameter : gpu.parameters) back.push_back(parameter.detach().cpu());
  expect_equal(back, cpu.parameters, 1e-12);
}

/// In the update's own launch, and in a launch of its own beside frozen parameters.
TEST(OptimizersGpuTest, AveragesMoveWithTheUpdate) {
  for (const bool frozen : {false, true})
    for (const std::string& name : names()) {
      const Factory create_one = [&](auto& arenas) { return create(name, arenas, {.weight_decay = 0.1}); };
      const auto start = make_parameters();
      std::vector<at::Tensor> on_gpu;
      for (const auto& parameter : start) on_gpu.push_back(parameter.detach().cuda().requires_grad_());
      Optimized cpu(copies_of(start), create_one);
      Optimized gpu(on_gpu, create_one);
      Ema cpu_average(cpu.arenas, 0.9), gpu_average(gpu.arenas, 0.9);
      if (frozen)
        for (const auto* side : {&cpu, &gpu}) side->parameters[1].set_requires_grad(false);
      for (int step = 1; step < 14; ++step) {
        const double scale = step == 4 ? std::nan("") : 1;
        cpu.step(step,
                 {.clip_norm = 3, .gradient_scale = scale, .check_finite = true, .average = &cpu_average});
        gpu.step(step,
                 {.clip_norm = 3, .gradient_scale = scale, .check_finite = true, .average = &gpu_average});
      }
      expect_equal({gpu_average.averages()[0].cpu()}, cpu_average.averages(), 1e-12);
    }
}

TEST(OptimizersGpuTest, TheDeviceIsChosenAndDescribed) {
  EXPECT_EQ(device::choose_device(device::DeviceRequest::cuda, 0).str(), "cuda:0");
  EXPECT_NE(device::describe(c10::Device(c10::kCUDA, 0)).find("GiB"), std::string::npos);
  EXPECT_NO_THROW(device::current_stream(c10::Device(c10::kCUDA, 0)));
}

}  // namespace
}  // namespace bunchtrain::optim
