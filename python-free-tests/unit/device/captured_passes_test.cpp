// SPDX-License-Identifier: Apache-2.0
// Passes that are taken down and repeated, by graphs of the host.
#include "bunchtrain/device/detail/captured_passes.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include <barrier>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/host_graph.hpp"
#include "support/message_of.hpp"

namespace bunchtrain::device {
namespace {

using test::GraphCounts;
using test::HostGraph;
using testing::HasSubstr;

NamedTensors same(const NamedTensors& tensors) { return tensors; }
NamedTensors doubled(const NamedTensors& tensors) { return {{"y", tensors["x"].mul(2)}}; }

/// Passes of y = 2 x.
struct Doubling {
  explicit Doubling(CapturedPassesOptions options = {}, CapturedPasses::Forward forward = doubled)
      : passes(with_graphs(std::move(options)), same, std::move(forward)) {}

  CapturedPassesOptions with_graphs(CapturedPassesOptions options) {
    if (options.wish == CudaGraph::off) options.wish = CudaGraph::on;
    if (!options.graphs.create)
      options.graphs.create = [this]() -> std::unique_ptr<StepGraph> {
        const std::lock_guard lock(mutex);
        counts.push_back(std::make_unique<GraphCounts>());
        return std::make_unique<HostGraph>(*counts.back());
      };
    return options;
  }
  /// What `size` numbers of `value` become; all the same.
  float operator()(std::int64_t size, float value) {
    float found = 0;
    passes.run({{"x", at::full({size}, value)}}, [&](const NamedTensors& outputs, bool lent) {
      was_repeated = lent;
      EXPECT_EQ(outputs["y"].numel(), size);
      found = outputs["y"].const_data_ptr<float>()[size - 1];
    });
    return found;
  }
  void warm_up(std::int64_t size) {
    for (std::int64_t i = 0; i <= CapturedPasses::kWarmUps; ++i) (*this)(size, 1);
  }

  std::mutex mutex;
  std::vector<std::unique_ptr<GraphCounts>> counts;
  bool was_repeated = false;
  CapturedPasses passes;
};

TEST(CapturedPassesTest, AShapeThatComesAgainIsRepeatedWithItsOwnNumbers) {
  Doubling doubling;
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(doubling(3, static_cast<float>(i)), 2.0F * static_cast<float>(i));
    EXPECT_EQ(doubling.was_repeated, i > CapturedPasses::kWarmUps) << i;
    if (i % 4 == 3) {
      EXPECT_EQ(doubling(5, 1), 2);
      EXPECT_FALSE(doubling.was_repeated) << "a shape that is seldom";
    }
  }
  EXPECT_EQ(doubling.counts.size(), 1U);
  const GraphUse use = doubling.passes.use();
  EXPECT_EQ(use.graphs, 1);
  EXPECT_EQ(use.repeated, 7);
  EXPECT_EQ(use.eager, 8);
  EXPECT_EQ(use.why_eager, "");
}

TEST(CapturedPassesTest, NamesTypesAndStridesMakeAShape) {
  Doubling doubling;
  doubling.warm_up(4);
  const auto is_repeated = [&](const NamedTensors& inputs) {
    bool repeated = false;
    doubling.passes.run(inputs, [&](const NamedTensors&, bool lent) { repeated = lent; });
    return repeated;
  };
  EXPECT_TRUE(is_repeated({{"x", at::ones({4})}}));
  EXPECT_FALSE(is_repeated({{"x", at::ones({4}, at::kDouble)}}));
  EXPECT_FALSE(is_repeated({{"x", at::ones({8}).slice(0, 0, 8, 2)}}));
  EXPECT_FALSE(is_repeated({{"x", at::ones({4})}, {"z", at::ones({4})}}));
}

TEST(CapturedPassesTest, CallsAtOnceHaveAGraphEach) {
  Doubling doubling;
  std::barrier both(2);
  const auto call = [&](float value) {
    for (int i = 0; i < 20; ++i)
      doubling.passes.run({{"x", at::full({3}, value)}}, [&](const NamedTensors& outputs, bool) {
        both.arrive_and_wait();  // both are within a call
        EXPECT_EQ(outputs["y"].const_data_ptr<float>()[0], 2 * value);
        both.arrive_and_wait();
      });
  };
  { std::jthread first(call, 1.0F), second(call, 2.0F); }
  const GraphUse use = doubling.passes.use();
  EXPECT_EQ(use.graphs, 2);
  EXPECT_EQ(use.graphs, std::ssize(doubling.counts));
  EXPECT_GE(use.repeated, 20);
  EXPECT_EQ(use.repeated + use.eager, 40);
}

TEST(CapturedPassesTest, OnePassIsCapturedAtATime) {
  Doubling other;
  for (std::int64_t i = 0; i < CapturedPasses::kWarmUps; ++i) other(3, 1);
  class Meanwhile : public HostGraph {
   public:
    Meanwhile(GraphCounts& counts, Doubling& other) : HostGraph(counts), other_(other) {}
    void capture(const std::function<void()>& work) override {
      EXPECT_EQ(other_(3, 4), 8);
      HostGraph::capture(work);
    }

   private:
    Doubling& other_;
  };
  GraphCounts counts;
  Doubling doubling({.graphs = {.create = [&] { return std::make_unique<Meanwhile>(counts, other); }}});
  doubling.warm_up(3);
  EXPECT_EQ(counts.captures, 1);
  EXPECT_EQ(other.passes.use().graphs, 0) << "its turn was while the other was captured";
  EXPECT_EQ(other(3, 5), 10);
  EXPECT_EQ(other.passes.use().graphs, 1);
}

TEST(CapturedPassesTest, SaysWhatKeepsPassesEager) {
  Doubling few({.most_graphs = 2});
  for (const std::int64_t size : {1, 2, 3}) few.warm_up(size);
  EXPECT_EQ(few.passes.use().graphs, 2);
  EXPECT_EQ(few.passes.use().why_eager, "there are 2 graphs, as many as most_graphs allows");
  few(2, 1);
  EXPECT_TRUE(few.was_repeated);

  Doubling many;
  for (std::int64_t size = 1; size <= 257; ++size) many(size, 1);
  EXPECT_EQ(many.passes.use().why_eager, "more than 256 shapes of inputs");

  Doubling known({.obstacle = "it cannot be"});
  known.warm_up(1);
  EXPECT_EQ(known.passes.use().why_eager, "it cannot be");
  EXPECT_EQ(known.passes.use().graphs, 0);

  int tries = 0;
  Doubling refused({.graphs = {.create = [&] {
                      ++tries;
                      return std::make_unique<test::RefusingGraph>();
                    }}});
  for (int i = 0; i < 3; ++i) refused.warm_up(2);
  EXPECT_EQ(refused(2, 7), 14);
  EXPECT_EQ(tries, 1);
  EXPECT_EQ(refused.passes.use().why_eager, "the host waits");
}

TEST(CapturedPassesTest, AutomaticRepeatsWhereLaunchesBind) {
  double device_seconds = 1;
  const auto options = [&] {
    return CapturedPassesOptions{
        .wish = CudaGraph::automatic,
        .graphs = {.seconds = [&](const Moment&, const Moment&) { return device_seconds; }}};
  };
  Doubling bound(options());
  device_seconds = 0;
  bound.warm_up(3);
  EXPECT_EQ(bound.passes.use().graphs, 1);
  Doubling unbound(options());
  device_seconds = 0.25;
  unbound.warm_up(3);
  EXPECT_EQ(unbound.passes.use().graphs, 0);
  EXPECT_THAT(unbound.passes.use().why_eager, testing::AllOf(HasSubstr("the host enqueues a pass in "),
                                                             HasSubstr("the GPU takes 250.00 ms")));
  device_seconds = 0;
  unbound.warm_up(3);
  EXPECT_EQ(unbound.passes.use().graphs, 0) << "it is known of this shape";
  unbound.warm_up(4);
  EXPECT_EQ(unbound.passes.use().graphs, 1) << "not of another";
}

TEST(CapturedPassesTest, ACallThatFailsLeavesNothingBehind) {
  bool fails = false;
  Doubling doubling({.most_graphs = 1}, [&](const NamedTensors& inputs) {
    if (fails) throw std::runtime_error("no memory");
    return doubled(inputs);
  });
  for (std::int64_t i = 0; i < CapturedPasses::kWarmUps; ++i) doubling(3, 1);
  fails = true;  // in the pass that would be taken down
  EXPECT_THROW(doubling(3, 1), std::runtime_error);
  fails = false;
  EXPECT_EQ(doubling(3, 2), 4);
  EXPECT_EQ(doubling.passes.use().graphs, 1);
  EXPECT_THROW(doubling.passes.run({{"x", at::ones({3})}},
                                   [](const NamedTensors&, bool) { throw std::runtime_error("no room"); }),
               std::runtime_error);
  EXPECT_EQ(doubling(3, 3), 6);
  EXPECT_TRUE(doubling.was_repeated) << "by the graph of the call that failed";
}

TEST(CapturedPassesTest, OffIsWhatWasThereBefore) {
  CapturedPasses passes({}, same, doubled);
  for (int i = 0; i < 8; ++i)
    passes.run({{"x", at::ones({2})}}, [](const NamedTensors&, bool lent) { EXPECT_FALSE(lent); });
  EXPECT_EQ(passes.use().eager, 0);
}

TEST(CudaGraphTest, IsReadAndWritten) {
  EXPECT_EQ(parse_cuda_graph("auto"), CudaGraph::automatic);
  EXPECT_EQ(to_string(parse_cuda_graph("off")), "off");
  EXPECT_EQ(to_string(parse_cuda_graph("on")), "on");
  EXPECT_THAT(test::message_of<ConfigError>([] { parse_cuda_graph("maybe"); }),
              testing::AllOf(HasSubstr("cuda-graph"), HasSubstr("auto, on, off")));
}

}  // namespace
}  // namespace bunchtrain::device
