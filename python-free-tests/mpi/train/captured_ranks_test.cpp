// SPDX-License-Identifier: Apache-2.0
/// Steps with collectives in them, taken down and repeated by all ranks or by none.
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../comm/world.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/optim/adamw.hpp"
#include "support/captured_training.hpp"

namespace bunchtrain::train {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Training = test::CapturedTraining<optim::AdamW>;

/// A graph of the host whose rank fails in one of its replays.
class FailingGraph : public test::HostGraph {
 public:
  FailingGraph(test::GraphCounts& counts, int at) : HostGraph(counts), counts_(counts), at_(at) {}
  void replay() override {
    if (counts_.replays + 1 == at_) throw std::runtime_error("the disk is full");
    HostGraph::replay();
  }

 private:
  test::GraphCounts& counts_;
  int at_;
};

class CapturedRanksTest : public ::testing::Test {
 protected:
  comm::Communicator create(std::string name, bool checked = false) const {
    return comm::Communicator::create(test_world(), c10::kCPU,
                                      {.backend = comm::Backend::mpi,
                                       .timeout = std::chrono::seconds(30),
                                       .checked = checked,
                                       .name = std::move(name)});
  }
  CapturedSteps captured(CudaGraph wish, CapturedSteps::CreateGraph graphs) const {
    return {wish, std::move(graphs), Logger(lines), agreement};
  }
  CapturedSteps::CreateGraph host_graphs() {
    return [this] { return std::make_unique<test::HostGraph>(counts); };
  }
  /// Of this rank; the counts are those of all ranks.
  Batch batch_of(std::int64_t samples, std::int64_t step, std::int64_t particles = 6) const {
    at::manual_seed(static_cast<std::uint64_t>(100 * step + rank));
    Batch batch = test::batch_of(samples, 1000 * step + 100 * rank, particles);
    batch.global_samples = samples * size;
    return batch;
  }
  /// Twenty steps of eight samples.
  std::vector<std::string> lines_of(CapturedSteps steps, const std::function<void(Training&, Batch&)>& change,
                                    bool checked = false) {
    Training training(std::move(steps), create("gradients", checked));
    for (int step = 0; step < 20; ++step) {
      Batch batch = batch_of(8, step);
      if (change) change(training, batch);
      training.step(batch);
    }
    return lines->lines;
  }
  bool is_last() const { return rank == size - 1; }
  std::string last() const { return "(rank " + std::to_string(size - 1) + ")"; }

  int rank = test_world().rank(), size = test_world().size();
  comm::Communicator agreement = create("agreement");
  std::shared_ptr<test::KeptLines> lines = std::make_shared<test::KeptLines>();
  test::GraphCounts counts;
};

TEST_F(CapturedRanksTest, RepeatedStepsHaveTheBitsOfEagerOnes) {
  for (const bool sync : {false, true}) {
    counts = {};
    comm::Communicator gradients = create("gradients");
    Training repeated(captured(CudaGraph::on, host_graphs()), gradients, {.sync_batch_norm = sync});
    Training expected(test::eager_steps(), create("eager"), {.sync_batch_norm = sync});
    for (std::int64_t step = 0; step < 24; ++step) {
      const bool is_odd = step % 3 == 2;  // on the last rank alone
      const Batch batch = batch_of(8, step, is_odd && is_last() ? 7 : 6);
      const bool left_out = step == 19;
      const double scale = left_out ? std::nan("") : 1;
      EXPECT_EQ(repeated.step(batch, scale), expected.step(batch, scale)) << step;
      EXPECT_EQ(repeated.report.applied(), !left_out);
      EXPECT_TRUE(repeated.engine.arenas()[0].values().equal(expected.engine.arenas()[0].values())) << step;
      EXPECT_TRUE(repeated.average.averages()[0].equal(expected.average.averages()[0])) << step;
    }
    EXPECT_EQ(counts.captures, 2)
        << "rehearsed and captured when the last rank has seen the shape often enough, too";
    EXPECT_EQ(counts.replays, 12) << "none in odd steps";
    EXPECT_EQ(repeated.optimizer.steps(), expected.optimizer.steps());
    for (const auto& buffer : expected.net->named_buffers())
      EXPECT_TRUE(repeated.net->named_buffers()[buffer.key()].equal(buffer.value())) << buffer.key();
    if (!sync) {  // statistics of two steps fill the record
      EXPECT_THAT(gradients.last_operations(), HasSubstr("captured step(graph 0) (#"));
    }
    EXPECT_EQ(lines->lines.size(), rank == 0 ? (sync ? 2U : 1U) : 0U);
  }
}

TEST_F(CapturedRanksTest, OneRankThatCannotMakesAllStayEager) {
  const auto said = [&](const std::string& reason) {
    const auto found = std::exchange(lines->lines, {});
    ASSERT_EQ(found.empty(), rank != 0);
    if (rank == 0) {
      EXPECT_EQ(found.back(), "warning: steps are not captured in a CUDA graph: " + reason);
    }
  };
  lines_of(captured(CudaGraph::on, host_graphs()), [&](Training&, Batch& batch) {
    if (is_last()) batch.ragged = {"points"};
  });
  said("batches are ragged " + last());
  lines_of(captured(CudaGraph::on,
                    [&]() -> std::unique_ptr<device::StepGraph> {
                      if (is_last()) return std::make_unique<test::RefusingGraph>();
                      return std::make_unique<test::HostGraph>(counts);
                    }),
           {});
  said("the host waits " + last());
  EXPECT_EQ(counts.replays, 0);
  lines_of(captured(CudaGraph::on, host_graphs()), [&](Training& training, Batch&) {
    if (is_last() && training.number == 7) training.captured.object("its objective logs numbers");
  });
  said("its objective logs numbers " + last());
  lines_of(captured(CudaGraph::on, host_graphs()), {}, /*checked=*/true);
  said("the ranks compare each collective before it starts (checked mode)");
}

TEST_F(CapturedRanksTest, AutomaticCapturesWhereLaunchesBindOnOneRank) {
  const auto notes = [&](bool last_binds) {
    return [this, last_binds](Training& training, Batch&) {
      training.captured.note_eager(last_binds && is_last() ? 0.1 : 0.001, 0.1);
    };
  };
  lines_of(captured(CudaGraph::automatic, host_graphs()), notes(true));
  EXPECT_EQ(counts.captures, 2);
  lines->lines.clear();
  lines_of(captured(CudaGraph::automatic, host_graphs()), notes(false));
  EXPECT_EQ(counts.captures, 2);
  if (rank == 0) {
    EXPECT_THAT(lines->lines, ElementsAre(HasSubstr("enqueues a step in 1.0 ms, the GPU takes 100.0 ms")));
  }
}

TEST_F(CapturedRanksTest, ARankThatFailsInAStepEndsAll) {
  comm::Communicator gradients = create("gradients");
  Training training(captured(CudaGraph::on,
                             [&]() -> std::unique_ptr<device::StepGraph> {
                               if (is_last()) return std::make_unique<FailingGraph>(counts, 3);
                               return std::make_unique<test::HostGraph>(counts);
                             }),
                    gradients);
  std::string error;
  try {
    for (int step = 0; step < 20; ++step) training.step(batch_of(8, step));
  } catch (const CommError& failure) {
    error = failure.message();
  } catch (const std::exception& failure) {  // as the training loop does
    error = failure.what();
    gradients.poison("rank " + std::to_string(rank) + " failed: " + error);
    agreement.poison("rank " + std::to_string(rank) + " failed: " + error);
  }
  EXPECT_THAT(error, HasSubstr("the disk is full"));
  EXPECT_LE(counts.replays, 3);
  test_world().barrier();
}

/// Meets the other ranks while it takes down its work, as NCCL does for its connections.
class MeetingGraph : public test::HostGraph {
 public:
  MeetingGraph(test::GraphCounts& counts, comm::Communicator ranks)
      : HostGraph(counts), ranks_(std::move(ranks)) {}
  void capture(const std::function<void()>& work) override {
    at::Tensor sum = at::ones({});
    ranks_.all_reduce(sum).wait();
    met = sum.item<float>() == static_cast<float>(ranks_.size());
    HostGraph::capture(work);
  }
  bool met = false;

 private:
  comm::Communicator ranks_;
};

TEST_F(CapturedRanksTest, WhatOneRankAloneMayFailInIsRehearsed) {
  comm::Communicator gradients = create("gradients");
  Training training(captured(CudaGraph::on,
                             [&]() -> std::unique_ptr<device::StepGraph> {
                               if (is_last()) return std::make_unique<test::RefusingGraph>();
                               return std::make_unique<MeetingGraph>(counts, gradients);
                             }),
                    gradients);
  for (int step = 0; step < 8; ++step) training.step(batch_of(8, step));  // nobody waits for the last rank
  EXPECT_EQ(counts.captures, is_last() ? 0 : 1) << "the rehearsal, in which nobody is met";
  EXPECT_EQ(counts.replays, 0);
  if (rank == 0) {
    EXPECT_THAT(lines->lines, ElementsAre(HasSubstr("the host waits " + last())));
  }
}

TEST_F(CapturedRanksTest, ARankThatFailsAfterItsRehearsalEndsAllAtOnce) {
  comm::Communicator gradients = create("gradients");
  bool rehearsed = false;
  class Enqueuing : public test::HostGraph {  // its collectives are counted
   public:
    using HostGraph::HostGraph;
    void capture(const std::function<void()>& work) override { work(); }
  };
  Training training(captured(CudaGraph::on,
                             [&]() -> std::unique_ptr<device::StepGraph> {
                               if (!std::exchange(rehearsed, true))
                                 return std::make_unique<Enqueuing>(counts);
                               if (is_last()) return std::make_unique<test::RefusingGraph>();
                               return std::make_unique<MeetingGraph>(counts, gradients);
                             }),
                    gradients);
  const auto begin = std::chrono::steady_clock::now();
  std::string error = "none";
  try {
    for (int step = 0; step < 8; ++step) training.step(batch_of(8, step));
  } catch (const CommError& failure) {
    error = failure.message();
    agreement.poison(error);
  }
  EXPECT_THAT(error, AllOf(HasSubstr("rank " + std::to_string(size - 1) +
                                     " failed while it captured a step, with 0 of 1 "
                                     "collectives, which the other ranks wait for: the host waits"),
                           HasSubstr("cuda_graph = off")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << "of a timeout of 30";
  test_world().barrier();
}

TEST_F(CapturedRanksTest, ARehearsedCollectiveIsCountedAndNotStarted) {
  comm::Communicator ranks = create("gradients");
  at::Tensor sum = at::ones({});
  const int counted = ranks.rehearse([&] {
    if (is_last()) ranks.all_reduce(sum).wait();  // the others do not come
  });
  EXPECT_EQ(counted, is_last() ? 1 : 0);
  EXPECT_EQ(sum.item<float>(), 1);
  EXPECT_THAT(ranks.last_operations(), testing::Not(HasSubstr("all_reduce")));
  EXPECT_THROW(ranks.rehearse([&] {
    ranks.all_reduce(at::ones({4, 4}).t().slice(0, 0, 2)).wait();
  }),
               ConfigError);
  ranks.all_reduce(sum).wait();
  EXPECT_EQ(sum.item<float>(), static_cast<float>(size)) << "in step again";
}

TEST_F(CapturedRanksTest, ARepeatedStepIsOneOperation) {
  comm::Communicator ranks = create("gradients");
  at::Tensor sum = at::zeros({});
  const auto add = [&] {
    sum = at::ones({});
    ranks.all_reduce(sum).wait();
  };
  ranks.capture([] {});
  ranks.repeat(add, 3).wait();
  EXPECT_EQ(sum.item<float>(), static_cast<float>(size));
  EXPECT_THAT(ranks.last_operations(),
              AllOf(HasSubstr("captured step(graph 3) (#1): complete"), HasSubstr("(#2): complete")));
  ranks.close();
  EXPECT_THROW(ranks.repeat(add, 3), CommError);
}

}  // namespace
}  // namespace bunchtrain::train
