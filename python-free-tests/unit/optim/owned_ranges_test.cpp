// SPDX-License-Identifier: Apache-2.0
// Optimizers that share the arenas do together what one does alone, to the bit, and hand their state to others.
#include "bunchtrain/optim/owned_ranges.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/optim/gradient_norm.hpp"
#include "bunchtrain/optim/registry.hpp"
#include "training_problem.hpp"

namespace bunchtrain::optim {
namespace {

using testing::HasSubstr;

/// What `rank` of `world` owns: units of 64 bytes, dealt evenly, which cuts parameters in mid-row.
std::vector<tensor::ArenaRange> share(const tensor::ParameterArenas& arenas, int rank, int world) {
  std::vector<tensor::ArenaRange> ranges;
  for (std::size_t i = 0; i < arenas.size(); ++i) {
    const std::int64_t unit = 64 / arenas[i].values().element_size();
    const std::int64_t units = arenas[i].values().numel() / unit;
    ranges.push_back({i, units * rank / world * unit, units * (rank + 1) / world * unit});
  }
  return ranges;
}

/// A network in float32 and float64, one parameter frozen, one not row-major, and the optimizers of a world.
class Ranks {
 public:
  Ranks(const std::string& name, int world, const std::vector<at::Tensor>& start)
      : parameters_(copies_of(start)), arenas_(arenas_of(parameters_)) {
    parameters_[1].set_requires_grad(false);
    for (int rank = 0; rank < world; ++rank) {
      CreateOptions options{.learning_rate = 0.05, .weight_decay = 0.01, .momentum = 0.9};
      if (world > 1) options.owned = share(arenas_, rank, world);
      optimizers_.push_back(create(name, arenas_, options));
      optimizers_.back()->set_groups({{.pattern = "p3", .learning_rate_factor = 0.5, .weight_decay = 0.2}});
    }
  }

  void train(int first, int last) {
    for (int step = first; step <= last; ++step) {
      for (auto& arena : arenas_) {
        arena.begin_pass();
        arena.zero_gradients();
      }
      std::vector<at::Tensor> trained;
      for (const auto& parameter : parameters_)
        if (parameter.requires_grad()) trained.push_back(parameter);
      backward(trained, step);
      const at::Tensor norm = gradient_norm(arenas_);
      for (auto& optimizer : optimizers_) optimizer->step({.clip_norm = 5, .gradient_norm = norm});
    }
  }

  std::vector<at::Tensor> parameters_;
  tensor::ParameterArenas arenas_;
  std::vector<std::unique_ptr<Optimizer>> optimizers_;
};

std::vector<at::Tensor> start() {
  std::vector<at::Tensor> parameters = make_parameters(at::kFloat);
  for (const auto& wide : make_parameters()) parameters.push_back(wide);
  parameters.push_back(at::randn({33, 7}).t().requires_grad_());
  return parameters;
}

void expect_same_bits(const Ranks& found, const Ranks& expected, const std::string& what) {
  for (std::size_t i = 0; i < expected.arenas_.size(); ++i)
    EXPECT_TRUE(found.arenas_[i].values().equal(expected.arenas_[i].values())) << what << ", arena " << i;
}

/// The whole state out of the slices of all ranks.
StateDict gathered(const Ranks& ranks) {
  StateDict whole = ranks.optimizers_.front()->state();
  std::map<std::string, at::Tensor> tensors;
  for (const auto& optimizer : ranks.optimizers_) {
    const StateDict part = optimizer->state();
    for (const auto& [name, tensor] : part.tensors) {
      const tensor::Slice slice = part.slice_of(name);
      at::Tensor& target = tensors[name];
      if (!target.defined()) target = at::full(slice.shape, -7, tensor.options());
      tensor::copy_common(tensor.contiguous(), slice, {0, slice.numel()}, target,
                          tensor::Slice::whole(slice.shape));
    }
  }
  whole.tensors = {};
  whole.slices.clear();
  for (const auto& [name, tensor] : tensors) whole.tensors.set(name, tensor);
  return whole;
}

TEST(OwnedRangesTest, AnothersPartOfACutParameterIsRefused) {
  const Ranks ranks("adamw", 2, start());
  StateDict mixed = ranks.optimizers_.front()->state();
  const StateDict theirs = ranks.optimizers_.back()->state();
  for (const auto& [name, slice] : theirs.slices)
    if (mixed.tensors.contains(name)) mixed.set_slice(name, theirs.tensors[name], slice);
  try {
    ranks.optimizers_.front()->load(mixed);
    FAIL() << "it was taken";
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("this optimizer owns"), std::string::npos) << error.what();
  }
}

TEST(OwnedRangesTest, SharesOfAnyWorldAreOneOptimizerToTheBit) {
  const auto parameters = start();
  for (const std::string& name : names()) {
    Ranks alone(name, 1, parameters);
    alone.train(1, 8);
    for (int world = 2; world <= 4; ++world) {
      Ranks ranks(name, world, parameters);
      ranks.train(1, 8);
      const std::string what = name + " on " + std::to_string(world);
      expect_same_bits(ranks, alone, what);
      const StateDict state = gathered(ranks), expected = alone.optimizers_.front()->state();
      ASSERT_EQ(state.tensors.size(), expected.tensors.size()) << what;
      for (const auto& [entry, tensor] : expected.tensors)
        EXPECT_TRUE(state.tensors[entry].equal(tensor)) << what << ", " << entry;
    }
  }
}

TEST(OwnedRangesTest, AnyWorldGoesOnWithTheStateOfAnother) {
  const auto parameters = start();
  for (const std::string& name : names()) {
    Ranks alone(name, 1, parameters);
    alone.train(1, 8);
    for (int world = 1; world <= 4; ++world) {
      Ranks before(name, world, parameters);
      before.train(1, 4);
      for (int other = 1; other <= 4; ++other) {
        Ranks after(name, other, before.parameters_);
        for (auto& optimizer : after.optimizers_) optimizer->load(gathered(before));
        after.train(5, 8);
        expect_same_bits(after, alone,
                         name + " from " + std::to_string(world) + " to " + std::to_string(other));
      }
    }
  }
}

TEST(OwnedRangesTest, AStateIsSlicesThatTheSameShareTakesBack) {
  Ranks ranks("adamw", 3, start());
  ranks.train(1, 3);
  Ranks fresh("adamw", 3, ranks.parameters_);
  std::size_t cut = 0;
  for (std::size_t rank = 0; rank < 3; ++rank) {
    const StateDict state = ranks.optimizers_[rank]->state();
    for (const auto& [name, tensor] : state.tensors) {
      ASSERT_TRUE(state.slices.contains(name)) << name;
      cut += state.slices.at(name).is_range() ? 1 : 0;
    }
    fresh.optimizers_[rank]->load(state);
    EXPECT_EQ(fresh.optimizers_[rank]->steps(), 3);
    for (const auto& [name, tensor] : fresh.optimizers_[rank]->state().tensors)
      EXPECT_TRUE(tensor.equal(state.tensors[name])) << name;
  }
  EXPECT_GE(cut, 4U) << "exp_avg and exp_avg_sq at both ends of the middle share, at least";
  try {
    fresh.optimizers_[0]->load(ranks.optimizers_[1]->state());
    FAIL() << "the state of another share was taken";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("exp_avg.p0"));
  }
}

TEST(OwnedRangesTest, WhatCannotBeOwnedIsRefused) {
  const auto parameters = make_parameters();
  auto arenas = arenas_of(parameters);
  const std::int64_t end = arenas[0].values().numel();
  for (const std::vector<tensor::ArenaRange>& bad : std::vector<std::vector<tensor::ArenaRange>>{
           {{1, 0, 8}}, {{0, 0, 8}, {0, 8, 16}}, {{0, 4, 8}}, {{0, 0, 12}}, {{0, 16, 8}}, {{0, 0, end + 8}}})
    EXPECT_THROW(create("sgd", arenas, {.owned = bad}), ConfigError);
  const auto none = create("sgd", arenas, {.owned = std::vector<tensor::ArenaRange>{}});
  EXPECT_TRUE(none->state().tensors.empty());
}

TEST(OwnedRangesTest, TheNormOfAPartIsNotTakenForThatOfTheWhole) {
  Ranks ranks("sgd", 2, start());
  for (const StepOptions& options : {StepOptions{.clip_norm = 1}, StepOptions{.check_finite = true}}) try {
      ranks.optimizers_[0]->step(options);
      ADD_FAILURE() << "clipped by the norm of a part";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("Engine::gradient_norm"));
    }
  EXPECT_EQ(ranks.optimizers_[0]->steps(), 0);
}

}  // namespace
}  // namespace bunchtrain::optim
