// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/nn/checkpoint.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/linear.h>

#include <functional>
#include <optional>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/nn/batch_norm.hpp"
#include "bunchtrain/nn/dropout.hpp"
#include "bunchtrain/nn/step_context.hpp"
#include "support/peak_allocator.hpp"

namespace bunchtrain::nn {
namespace {

using Tensors = std::vector<at::Tensor>;

constexpr std::int64_t kRows = 12, kWidth = 8;

/// A part of a network with everything that must be the same in the second pass: random numbers of ours and of
/// LibTorch, running statistics of ours and of LibTorch.
struct UnitImpl : torch::nn::Module {
  torch::nn::Linear first = register_module("first", torch::nn::Linear(kWidth, kWidth));
  torch::nn::Linear second = register_module("second", torch::nn::Linear(kWidth, kWidth));
  BatchNorm norm = register_module("norm", BatchNorm(BatchNormOptions{.channels = kWidth}));
  torch::nn::BatchNorm1d plain = register_module("plain", torch::nn::BatchNorm1d(kWidth));
  Dropout drop = register_module("drop", Dropout(DropoutOptions{.probability = 0.3, .site = 4}));
  int passes = 0;

  at::Tensor forward(const at::Tensor& x) {
    ++passes;
    const at::Tensor hidden = at::dropout(at::relu(norm->forward(first->forward(x))), 0.25, is_training());
    return plain->forward(second->forward(drop->forward(hidden)));
  }
};
TORCH_MODULE(Unit);

/// Two of them, the second after the first.
struct Pair {
  Unit a, b;
  explicit Pair(bool doubles = true) {
    at::manual_seed(3);
    a = Unit();
    b = Unit();
    if (doubles) {
      a->to(at::kDouble);
      b->to(at::kDouble);
    }
  }
};

using Pass = std::function<at::Tensor(Pair&, const at::Tensor&)>;

at::Tensor plain_pass(Pair& pair, const at::Tensor& x) { return pair.b->forward(pair.a->forward(x)); }

at::Tensor checkpointed_pass(Pair& pair, const at::Tensor& x) {
  const at::Tensor middle = checkpoint(
      *pair.a, [&](const at::Tensor& in) { return pair.a->forward(in); }, x);
  return checkpoint(
      *pair.b, [&](const at::Tensor& in) { return pair.b->forward(in); }, middle);
}

struct Found {
  at::Tensor output, input_gradient;
  Tensors gradients, buffers;
};

/// Output, gradients and running statistics of one training step.
Found step(const Pass& pass, bool input_needs_gradient = true, bool context = true) {
  Pair pair;
  at::manual_seed(11);
  const at::Tensor x = at::randn({kRows, kWidth}, at::kDouble).set_requires_grad(input_needs_gradient);
  const at::Tensor target = at::randn({kRows, kWidth}, at::kDouble);
  Found found;
  {
    std::optional<StepContext> step;
    if (context) step.emplace(5, 7, at::arange(100, 100 + kRows, at::kLong));
    found.output = pass(pair, x);
  }
  (found.output - target).square().mean().backward();  // outside of the context
  found.input_gradient = x.grad();
  for (const Unit& unit : {pair.a, pair.b}) {
    for (const at::Tensor& parameter : unit->parameters()) found.gradients.push_back(parameter.grad());
    for (const at::Tensor& buffer : unit->buffers()) found.buffers.push_back(buffer.clone());
  }
  return found;
}

void expect_equal(const Tensors& a, const Tensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].defined(), b[i].defined()) << i;
    EXPECT_TRUE(!a[i].defined() || at::equal(a[i], b[i])) << i;
  }
}

TEST(CheckpointTest, OutputGradientsAndStatisticsAreThoseOfThePlainPass) {
  for (const bool input : {true, false}) {
    const Found plain = step(plain_pass, input), again = step(checkpointed_pass, input);
    EXPECT_TRUE(at::equal(plain.output, again.output));
    expect_equal({plain.input_gradient}, {again.input_gradient});
    expect_equal(plain.gradients, again.gradients);
    expect_equal(plain.buffers, again.buffers);
  }
}

TEST(CheckpointTest, IsComputedTwiceWithGradientsAndOnceWithout) {
  Pair pair;
  const at::Tensor x = at::randn({kRows, kWidth}, at::kDouble);
  checkpointed_pass(pair, x).sum().backward();
  EXPECT_EQ(pair.a->passes, 2);
  const at::NoGradGuard no_grad;
  checkpointed_pass(pair, x);
  EXPECT_EQ(pair.a->passes, 3);
}

TEST(CheckpointTest, DropoutWithoutAContextIsTheSameInBothPasses) {
  Pair pair;
  // The gradient of a sum through dropout is 0 where the output was 0.
  Dropout drop(DropoutOptions{.probability = 0.5});
  for (int call = 0; call < 3; ++call) {
    const at::Tensor x = at::rand({kRows, kWidth}).add(1).set_requires_grad(true);
    const at::Tensor y = checkpoint(
        *drop, [&](const at::Tensor& in) { return drop->forward(in); }, x);
    y.sum().backward();
    EXPECT_TRUE(at::equal(x.grad().eq(0), y.eq(0)));
    EXPECT_GT(y.eq(0).sum().item<std::int64_t>(), 0);
  }
}

TEST(CheckpointTest, GeneratorsGoOnAsIfNothingHadBeenComputedTwice) {
  const auto next_number = [](const Pass& pass) {
    Pair pair;
    at::manual_seed(2);
    const at::Tensor x = at::randn({kRows, kWidth}, at::kDouble);
    pass(pair, x).sum().backward();
    return at::rand({1}).item<float>();
  };
  EXPECT_EQ(next_number(plain_pass), next_number(checkpointed_pass));
}

TEST(CheckpointTest, UnitsMayBeNested) {
  struct BothImpl : torch::nn::Module {
    explicit BothImpl(Pair& pair) {
      register_module("a", pair.a);
      register_module("b", pair.b);
    }
  };
  const Found nested = step([](Pair& pair, const at::Tensor& x) {
    const auto both = std::make_shared<BothImpl>(pair);
    return checkpoint(
        *both, [both, &pair](const at::Tensor& in) { return checkpointed_pass(pair, in); }, x);
  });
  const Found plain = step(plain_pass);
  expect_equal(plain.gradients, nested.gradients);
  expect_equal(plain.buffers, nested.buffers);
}

TEST(CheckpointTest, SeveralTensorsInAndOutSomeUnused) {
  const auto gradients = [](bool again) {
    at::manual_seed(1);
    torch::nn::Linear layer(kWidth, kWidth);
    const at::Tensor x = at::randn({kRows, kWidth}).set_requires_grad(true), y = at::randn({kRows, kWidth});
    const at::Tensor ids = at::arange(kRows, at::kLong);
    const UnitForward forward = [&](const Tensors& in) {
      return Tensors{layer->forward(in[0]) + in[1], in[0] * 2, in[2] + 1};
    };
    const Tensors out = again ? checkpoint(*layer, forward, {x, y, ids}) : forward({x, y, ids});
    EXPECT_TRUE(at::equal(out[2], ids + 1));
    EXPECT_FALSE(out[2].requires_grad());
    out[0].square().sum().backward();
    return Tensors{x.grad(), layer->weight.grad(), layer->bias.grad()};
  };
  expect_equal(gradients(false), gradients(true));
}

TEST(CheckpointTest, AutocastIsThatOfTheFirstPass) {
  const auto gradients = [](const Pass& pass) {
    Pair pair(/*doubles=*/false);
    at::manual_seed(4);
    const at::Tensor x = at::randn({kRows, kWidth});
    at::Tensor y;
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    {
      const StepContext context(5, 7, at::arange(kRows, at::kLong));
      y = pass(pair, x);
    }
    at::autocast::set_autocast_enabled(at::kCPU, false);
    at::autocast::clear_cache();
    y.to(at::kFloat).square().sum().backward();
    Tensors found = {y};
    for (const at::Tensor& parameter : pair.a->parameters()) found.push_back(parameter.grad());
    return found;
  };
  expect_equal(gradients(plain_pass), gradients(checkpointed_pass));
}

TEST(CheckpointTest, KeepsTheInputsAlone) {
  const auto peak = [](bool again) {
    at::manual_seed(1);
    constexpr int kLayers = 16;
    std::vector<torch::nn::Linear> layers;
    for (int i = 0; i < kLayers; ++i) layers.emplace_back(64, 64);
    const at::Tensor x = at::randn({4096, 64});
    return test::peak_bytes([&] {
      at::Tensor y = x;
      for (int i = 0; i < kLayers; i += 4) {
        const auto four = [&layers, i](const at::Tensor& in) {
          at::Tensor out = in;
          for (int k = i; k < i + 4; ++k)
            out = at::relu(layers[static_cast<std::size_t>(k)]->forward(out)).mul(1.5).tanh();
          return out;
        };
        struct FourImpl : torch::nn::Module {};
        const auto unit = std::make_shared<FourImpl>();
        for (int k = i; k < i + 4; ++k)
          unit->register_module(std::to_string(k), layers[static_cast<std::size_t>(k)]);
        // The module is part of what is kept alive until backward is done.
        y = again ? checkpoint(
                        *unit, [unit, four](const at::Tensor& in) { return four(in); }, y)
                  : four(y);
      }
      y.sum().backward();
    });
  };
  EXPECT_LT(peak(true), 0.5 * peak(false));
}

TEST(CheckpointTest, AUnitThatChangesBetweenThePassesIsNamed) {
  const auto refusal = [](const UnitForward& forward) -> std::string {
    torch::nn::Linear layer(kWidth, kWidth);
    const at::Tensor x = at::randn({kRows, kWidth}).set_requires_grad(true);
    const auto out = checkpoint(*layer, forward, {x});
    try {
      out.front().sum().backward();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  int passes = 0;
  EXPECT_THAT(refusal([&](const Tensors& in) {
                return ++passes == 1 ? Tensors{in[0] * 2} : Tensors{in[0] * 2, in[0]};
              }),
              testing::HasSubstr("gave 2 outputs in backward and 1 before"));
  passes = 0;
  EXPECT_THAT(refusal([&](const Tensors& in) {
                return Tensors{++passes == 1 ? in[0] * 2 : (in[0] * 2).narrow(0, 0, 3)};
              }),
              testing::HasSubstr("output 0 of a checkpointed unit has another shape in backward"));
}

}  // namespace
}  // namespace bunchtrain::nn
