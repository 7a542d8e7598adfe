// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/tensor/parameter_arena.hpp"

#include <ATen/autocast_mode.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>

#include <cstdint>
#include <sstream>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::tensor {
namespace {

using testing::HasSubstr;

/// Two linear layers [4 -> 3 -> 2]; `spare` takes no part in forward.
struct SmallNet : torch::nn::Module {
  SmallNet() {
    first = register_module("first", torch::nn::Linear(4, 3));
    second = register_module("second", torch::nn::Linear(3, 2));
    spare = register_parameter("spare", at::ones({5}));
  }
  at::Tensor forward(const at::Tensor& input) { return second->forward(first->forward(input).tanh()); }

  torch::nn::Linear first{nullptr}, second{nullptr};
  at::Tensor spare;
};

std::vector<NamedParameter> parameters_of(const torch::nn::Module& module) {
  std::vector<NamedParameter> parameters;
  for (const auto& item : module.named_parameters()) parameters.push_back({item.key(), item.value()});
  return parameters;
}

bool lies_in(const at::Tensor& tensor, const at::Tensor& flat) {
  const auto begin = reinterpret_cast<std::uintptr_t>(flat.const_data_ptr());
  const auto place = reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr());
  return place >= begin && place + tensor.nbytes() <= begin + flat.nbytes();
}

std::string refusal(std::vector<NamedParameter> parameters) {
  try {
    ParameterArena arena(std::move(parameters));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

class ParameterArenaTest : public testing::Test {
 protected:
  at::Tensor loss() { return net_.forward(input_).square().mean(); }
  /// Gradients of the same network without an arena.
  std::vector<at::Tensor> expected_gradients() {
    return torch::autograd::grad(
        {loss()}, {net_.first->weight, net_.first->bias, net_.second->weight, net_.second->bias});
  }
  void expect_gradients(const std::vector<at::Tensor>& expected) {
    const std::vector<at::Tensor> found{net_.first->weight.grad(), net_.first->bias.grad(),
                                        net_.second->weight.grad(), net_.second->bias.grad()};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(found[i].equal(expected[i])) << "gradient " << i;
      EXPECT_TRUE(lies_in(found[i], arena_.gradients())) << "gradient " << i;
    }
    EXPECT_EQ(net_.spare.grad().abs().sum().item<float>(), 0);
  }

  SmallNet net_;
  at::Tensor input_ = at::rand({6, 4});
  ParameterArena arena_{parameters_of(net_)};
};

TEST_F(ParameterArenaTest, ValuesSurviveTheMoveAndSegmentsAreAligned) {
  SmallNet fresh;
  const at::Tensor before = fresh.first->weight.detach().clone();
  const ParameterArena arena(parameters_of(fresh));
  EXPECT_TRUE(fresh.first->weight.equal(before));
  std::int64_t elements = 0;
  for (std::size_t i = 0; i < arena.segments().size(); ++i) {
    const ArenaSegment& segment = arena.segments()[i];
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena.parameter(i).const_data_ptr()) % 64, 0u) << segment.name;
    EXPECT_EQ(segment.offset % 16, 0) << segment.name;
    elements += segment.numel;
  }
  EXPECT_EQ(elements, arena.numel());
  EXPECT_EQ(arena.segments().front().name, "spare");
}

TEST_F(ParameterArenaTest, BackwardLandsInTheArena) {
  const auto expected = expected_gradients();
  arena_.begin_pass();
  loss().backward();
  arena_.end_pass();
  expect_gradients(expected);
}

TEST_F(ParameterArenaTest, PassesAccumulateUntilZeroed) {
  const auto expected = expected_gradients();
  for (int pass = 0; pass < 2; ++pass) {
    arena_.begin_pass();
    loss().backward();
    arena_.end_pass();
  }
  EXPECT_TRUE(net_.first->weight.grad().equal(expected[0] * 2));
  arena_.zero_gradients();
  EXPECT_EQ(arena_.gradients().abs().sum().item<float>(), 0);
  EXPECT_EQ(net_.first->weight.grad().abs().sum().item<float>(), 0);
}

TEST_F(ParameterArenaTest, ZeroGradToUndefinedIsReboundAndZeroed) {
  const auto expected = expected_gradients();
  loss().backward();
  net_.zero_grad(/*set_to_none=*/true);
  ASSERT_FALSE(net_.first->weight.grad().defined());
  arena_.begin_pass();
  EXPECT_EQ(arena_.gradients().abs().sum().item<float>(), 0);
  loss().backward();
  arena_.end_pass();
  expect_gradients(expected);
}

TEST_F(ParameterArenaTest, ZeroGradOfOneParameterTouchesOnlyThatOne) {
  const auto expected = expected_gradients();
  loss().backward();
  net_.first->weight.mutable_grad().reset();
  arena_.begin_pass();
  EXPECT_EQ(net_.first->weight.grad().abs().sum().item<float>(), 0);
  EXPECT_TRUE(net_.second->weight.grad().equal(expected[2]));
}

TEST_F(ParameterArenaTest, ZeroGradInPlaceWorks) {
  const auto expected = expected_gradients();
  loss().backward();
  net_.zero_grad(/*set_to_none=*/false);
  EXPECT_EQ(arena_.gradients().abs().sum().item<float>(), 0);
  arena_.begin_pass();
  loss().backward();
  arena_.end_pass();
  expect_gradients(expected);
}

TEST_F(ParameterArenaTest, GradientsWithoutBeginPassAreBroughtHome) {
  const auto expected = expected_gradients();
  net_.zero_grad(/*set_to_none=*/true);
  loss().backward();
  ASSERT_FALSE(lies_in(net_.first->weight.grad(), arena_.gradients()));
  arena_.end_pass();
  expect_gradients(expected);
}

TEST_F(ParameterArenaTest, CreateGraphGradientsAreCopiedBack) {
  const auto expected = expected_gradients();
  arena_.begin_pass();
  loss().backward({}, /*retain_graph=*/true, /*create_graph=*/true);
  ASSERT_FALSE(lies_in(net_.first->weight.grad(), arena_.gradients()));
  arena_.end_pass();
  expect_gradients(expected);
}

TEST_F(ParameterArenaTest, DoubleBackwardThroughTheArena) {
  arena_.begin_pass();
  const auto gradients =
      torch::autograd::grad({loss()}, {net_.first->weight}, {}, true, /*create_graph=*/true);
  gradients[0].square().sum().backward();
  arena_.end_pass();
  EXPECT_GT(net_.second->weight.grad().abs().sum().item<float>(), 0);
  EXPECT_TRUE(lies_in(net_.second->weight.grad(), arena_.gradients()));
}

TEST_F(ParameterArenaTest, ChangedDtypeIsAConfigErrorThatNamesTheParameter) {
  net_.to(torch::kFloat64);
  try {
    arena_.begin_pass();
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("spare"), HasSubstr("double"), HasSubstr("to()")));
  }
}

TEST_F(ParameterArenaTest, ThereAndBackAgainIsRepaired) {
  const auto expected = expected_gradients();
  net_.to(torch::kFloat64);
  net_.to(torch::kFloat32);
  arena_.begin_pass();
  EXPECT_TRUE(lies_in(net_.first->weight, arena_.values()));
  loss().backward();
  arena_.end_pass();
  expect_gradients(expected);
}

TEST_F(ParameterArenaTest, LoadAfterConstructionIsCopiedBack) {
  auto source = std::make_shared<SmallNet>();
  std::stringstream stream;
  torch::save(source, stream);
  auto target = std::make_shared<SmallNet>();
  ParameterArena arena(parameters_of(*target));
  torch::load(target, stream);
  arena.begin_pass();
  EXPECT_TRUE(target->first->weight.equal(source->first->weight));
  EXPECT_TRUE(lies_in(target->first->weight, arena.values()));
}

TEST_F(ParameterArenaTest, SetDataIsCopiedBack) {
  const at::Tensor replacement = at::rand({3, 4});
  net_.first->weight.set_data(replacement);
  arena_.begin_pass();
  EXPECT_TRUE(lies_in(net_.first->weight, arena_.values()));
  EXPECT_TRUE(net_.first->weight.equal(replacement));
}

TEST_F(ParameterArenaTest, ChangedShapeIsAConfigError) {
  net_.first->weight.set_data(at::rand({3, 5}));
  EXPECT_THROW(arena_.begin_pass(), ConfigError);
}

TEST_F(ParameterArenaTest, SharedParameterIsCountedOnce) {
  torch::nn::Module module;
  const at::Tensor shared = module.register_parameter("encoder", at::rand({3}));
  const ParameterArena arena({{"encoder", shared}, {"decoder", shared}});
  ASSERT_EQ(arena.segments().size(), 1u);
  EXPECT_EQ(arena.segments()[0].name, "encoder");
  EXPECT_EQ(arena.numel(), 3);
}

TEST_F(ParameterArenaTest, ChannelsLastStridesAreKept) {
  at::Tensor planar = at::rand({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
  at::Tensor volume = at::rand({2, 3, 4, 5, 6}).contiguous(at::MemoryFormat::ChannelsLast3d).requires_grad_();
  const at::Tensor before = volume.detach().clone();
  ParameterArena arena({{"planar", planar}, {"volume", volume}});
  EXPECT_TRUE(planar.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(volume.is_contiguous(at::MemoryFormat::ChannelsLast3d));
  EXPECT_TRUE(volume.equal(before));
  arena.begin_pass();
  (volume * 2).sum().backward();
  arena.end_pass();
  EXPECT_TRUE(volume.grad().is_contiguous(at::MemoryFormat::ChannelsLast3d));
  EXPECT_TRUE(lies_in(volume.grad(), arena.gradients()));
  EXPECT_EQ(arena.view(arena.make_like(), 1).strides(), volume.strides());
}

TEST_F(ParameterArenaTest, StaleSavedTensorsThrow) {
  const at::Tensor stale = loss();
  {
    const at::NoGradGuard no_grad;
    arena_.values().mul_(0.5);
  }
  arena_.bump_versions();
  EXPECT_THROW(stale.backward(), c10::Error);
}

TEST_F(ParameterArenaTest, UpdatesClearAutocastsCopies) {
  at::autocast::set_autocast_enabled(c10::kCPU, true);
  const auto product = [&] { return at::mm(at::ones({1, 4}), net_.first->weight.t()).sum().item<float>(); };
  const float before = product();
  arena_.values().mul_(2);
  arena_.bump_versions();
  const float after = product();
  at::autocast::set_autocast_enabled(c10::kCPU, false);
  at::autocast::clear_cache();
  EXPECT_EQ(after, 2 * before);
}

TEST_F(ParameterArenaTest, UnusedParameterHasAZeroGradient) {
  arena_.begin_pass();
  loss().backward();
  arena_.end_pass();
  ASSERT_TRUE(net_.spare.grad().defined());
  EXPECT_EQ(net_.spare.grad().abs().sum().item<float>(), 0);
}

TEST_F(ParameterArenaTest, FrozenParameterHasNoGradientAndMayThaw) {
  net_.first->weight.set_requires_grad(false);
  arena_.begin_pass();
  loss().backward();
  arena_.end_pass();
  EXPECT_FALSE(net_.first->weight.grad().defined());
  EXPECT_GT(net_.second->weight.grad().abs().sum().item<float>(), 0);

  net_.first->weight.set_requires_grad(true);
  arena_.begin_pass();
  loss().backward();
  arena_.end_pass();
  EXPECT_TRUE(lies_in(net_.first->weight.grad(), arena_.gradients()));
  EXPECT_GT(net_.first->weight.grad().abs().sum().item<float>(), 0);
}

/// Trains two equal networks, one in an arena, with the same LibTorch optimizer; the
/// weights must agree to the bit.
template <class Optimizer, class Options>
void expect_same_training(const Options& options) {
  SmallNet plain;
  SmallNet housed;
  {
    const at::NoGradGuard no_grad;
    const auto source = plain.parameters();
    auto target = housed.parameters();
    for (std::size_t i = 0; i < source.size(); ++i) target[i].copy_(source[i]);
  }
  ParameterArena arena(parameters_of(housed));
  Optimizer plain_optimizer(plain.parameters(), options);
  Optimizer housed_optimizer(housed.parameters(), options);
  const at::Tensor input = at::rand({6, 4});
  for (int step = 0; step < 3; ++step) {
    plain_optimizer.zero_grad();
    plain.forward(input).square().mean().backward();
    plain_optimizer.step();
    housed_optimizer.zero_grad();
    arena.begin_pass();
    housed.forward(input).square().mean().backward();
    arena.end_pass();
    housed_optimizer.step();
  }
  EXPECT_TRUE(plain.first->weight.equal(housed.first->weight));
  EXPECT_TRUE(plain.second->bias.equal(housed.second->bias));
  EXPECT_TRUE(lies_in(housed.first->weight, arena.values()));
}

TEST_F(ParameterArenaTest, LibTorchOptimizersWork) {
  expect_same_training<torch::optim::SGD>(torch::optim::SGDOptions(0.1).momentum(0.9));
  expect_same_training<torch::optim::AdamW>(torch::optim::AdamWOptions(0.01).weight_decay(0));
}

TEST_F(ParameterArenaTest, PaddingStaysZeroInANewFlatTensor) {
  EXPECT_EQ(arena_.make_like().abs().sum().item<float>(), 0);
  EXPECT_EQ(arena_.make_like().numel(), arena_.values().numel());
}

TEST_F(ParameterArenaTest, UnusableParametersAreNamed) {
  const auto leaf = [](const at::Tensor& tensor) { return tensor.detach().requires_grad_(); };
  EXPECT_THAT(refusal({}), HasSubstr("at least one parameter"));
  EXPECT_THAT(refusal({{"a", leaf(at::ones({2}))}, {"b", leaf(at::ones({2}, at::kDouble))}}),
              HasSubstr("parameter b is double"));
  EXPECT_THAT(refusal({{"wide", leaf(at::ones({1, 2}).expand({3, 2}))}}),
              HasSubstr("parameter wide is expanded"));
  EXPECT_THAT(refusal({{"gaps", leaf(at::ones({4, 4}).slice(1, 0, 2))}}), HasSubstr("parameter gaps"));
  EXPECT_THAT(refusal({{"count", at::ones({2}, at::kLong)}}), HasSubstr("register it as a buffer"));
  EXPECT_THAT(refusal({{"result", leaf(at::ones({2})) * 2}}), HasSubstr("not a leaf"));
  const at::Tensor memory = at::ones({4});
  EXPECT_THAT(refusal({{"one", leaf(memory)}, {"two", leaf(memory)}}), HasSubstr("share memory"));
}

TEST_F(ParameterArenaTest, SparseGradientNamesTheRemedy) {
  at::Tensor table = at::rand({5, 2}).requires_grad_();
  ParameterArena arena({{"table", table}});
  arena.begin_pass();
  table.mutable_grad().reset();
  at::embedding(table, at::ones({1}, at::kLong), -1, false, /*sparse=*/true).sum().backward();
  try {
    arena.end_pass();
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("table"), HasSubstr("sparse(false)")));
  }
}

TEST_F(ParameterArenaTest, EmptyParameterIsHarmless) {
  at::Tensor empty = at::empty({0, 3}).requires_grad_();
  at::Tensor full = at::ones({2}).requires_grad_();
  ParameterArena arena({{"empty", empty}, {"full", full}});
  for (int pass = 0; pass < 2; ++pass) {
    arena.begin_pass();
    (empty.sum() + full.sum()).backward();
    arena.end_pass();
  }
  EXPECT_EQ(full.grad().sum().item<float>(), 4);
}

TEST_F(ParameterArenaTest, ModuleOutlivesItsArena) {
  SmallNet net;
  { const ParameterArena arena(parameters_of(net)); }
  net.forward(input_).sum().backward();
  EXPECT_TRUE(net.first->weight.grad().defined());
}

TEST(ParameterArenasTest, OneArenaPerDtypeInOrderOfAppearance) {
  at::Tensor single = at::ones({2}).requires_grad_();
  at::Tensor twofold = at::ones({3}, at::kDouble).requires_grad_();
  at::Tensor another = at::ones({4}).requires_grad_();
  const ParameterArenas arenas =
      create_arenas({{"single", single}, {"twofold", twofold}, {"another", another}});
  ASSERT_EQ(arenas.size(), 2u);
  EXPECT_EQ(arenas[0].values().scalar_type(), at::kFloat);
  EXPECT_EQ(arenas[0].segments().size(), 2u);
  EXPECT_EQ(arenas[1].segments()[0].name, "twofold");
  EXPECT_THROW(create_arenas({}), ConfigError);
}

}  // namespace
}  // namespace bunchtrain::tensor
