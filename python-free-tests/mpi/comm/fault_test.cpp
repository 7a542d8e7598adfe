// SPDX-License-Identifier: Apache-2.0
// What the ranks see when one of them does not do its part.
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"
#include "world.hpp"

namespace bunchtrain::comm {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

/// The message of the CommError that `action` throws.
std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const CommError& error) {
    return error.message();
  }
  ADD_FAILURE() << "no CommError";
  return {};
}

class FaultTest : public testing::Test {
 protected:
  Communicator create(milliseconds timeout, bool checked = false) {
    return Communicator::create(
        test_world(), c10::kCPU,
        {.backend = Backend::mpi, .timeout = timeout, .checked = checked, .name = "trial"});
  }
  int rank = test_world().rank();
  int size = test_world().size();
};

TEST_F(FaultTest, TimeoutNamesTheSilentRankAndPoisons) {
  auto comm = create(milliseconds(400));
  constexpr int kSilent = 1;
  if (rank != kSilent) {
    const auto start = std::chrono::steady_clock::now();
    const auto text = error_of([&] { comm.all_reduce(at::ones({8})).wait(); });
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
    EXPECT_THAT(text, HasSubstr("all_reduce(sum) of 8 float32 (#1) is not complete after 0.4 s"));
    EXPECT_THAT(text, HasSubstr("Silent: rank 1 "));
    EXPECT_THAT(text, HasSubstr("communicator 'trial'"));
    EXPECT_THAT(error_of([&] { comm.barrier(); }), HasSubstr("it failed before"));
  }
  test_world().barrier();
  if (rank == kSilent) {  // comes back late
    EXPECT_THAT(error_of([&] { comm.all_reduce(at::ones({8})).wait(); }),
                AllOf(HasSubstr("failed: "), HasSubstr("Silent: rank 1 ")));
  }
  test_world().barrier();
}

TEST_F(FaultTest, TimeoutTellsWhichOperationEachRankIsIn) {
  auto comm = create(milliseconds(400));
  const auto text = error_of([&] {
    if (rank == 0)
      comm.all_reduce(at::ones({8})).wait();
    else
      comm.barrier();
  });
  // One of the ranks asks; the others hear its conclusion.
  EXPECT_THAT(text, HasSubstr("No rank is silent, but they are in different operations"));
  EXPECT_THAT(text, AnyOf(HasSubstr("in barrier (#1)"), HasSubstr("in all_reduce(sum) of 8 float32 (#1)")));
  test_world().barrier();
}

TEST_F(FaultTest, ARankThatWaitsForItsDataIsNotSilent) {
  auto comm = create(milliseconds(400));
  if (rank == 1) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
    const auto text = error_of([&] {
      while (std::chrono::steady_clock::now() < end) {
        comm.tell_reading();
        std::this_thread::sleep_for(milliseconds(50));
      }
      throw CommError("heard nothing");
    });
    EXPECT_THAT(text, HasSubstr("slow storage: rank 1 still waiting for data"));
  } else {
    EXPECT_THAT(error_of([&] { comm.all_reduce(at::ones({8})).wait(); }),
                HasSubstr("slow storage: rank 1 still waiting for data"));
  }
  test_world().barrier();
}

TEST_F(FaultTest, AStoppedRankIsToldFromABusyOneAndTheRecordIsKept) {
  auto comm = create(milliseconds(400));
  const auto phase = comm.control().in_phase("training");
  std::string record;
  comm.on_failure([&](const std::string& reason) { record = reason + '\n' + comm.last_operations(); });
  const auto& process = comm.control().process_of(1);
  if (rank == 1) {
    raise(SIGSTOP);
  } else {
    while (state_of(process) != ProcessState::stopped) std::this_thread::sleep_for(milliseconds(5));
    EXPECT_THAT(
        error_of([&] { comm.all_reduce(at::ones({8})).wait(); }),
        AllOf(HasSubstr("(while training)"),
              HasSubstr("Silent: rank 1 (process " + std::to_string(process.pid)), HasSubstr("is stopped")));
    EXPECT_THAT(record, AllOf(HasSubstr("Silent: rank 1"),
                              HasSubstr("all_reduce(sum) of 8 float32 (#1), training: in flight since")));
    if (rank == 0) {
      std::this_thread::sleep_for(milliseconds(300));
      kill(static_cast<pid_t>(process.pid), SIGCONT);
    }
  }
  test_world().barrier();
}

TEST_F(FaultTest, ReceiveWithoutSendTimesOut) {
  auto comm = create(milliseconds(300));
  if (rank == 0) {
    const auto text = error_of([&] { comm.receive(at::zeros({4}), 1, 7).wait(); });
    EXPECT_THAT(text, HasSubstr("receive(from 1, tag 7) of 4 float32"));
    EXPECT_THAT(text, HasSubstr("Silent: rank"));
  }
  test_world().barrier();
}

TEST_F(FaultTest, PoisonReachesThePeers) {
  auto comm = create(std::chrono::minutes(5));
  const auto start = std::chrono::steady_clock::now();
  if (rank == 0) {
    comm.poison("the disk is full");
    EXPECT_THAT(error_of([&] { comm.barrier(); }), HasSubstr("the disk is full"));
  } else {
    EXPECT_THAT(error_of([&] { comm.all_reduce(at::ones({8})).wait(); }),
                HasSubstr("rank 0 failed: the disk is full"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_NO_THROW(comm.close());  // frees nothing, waits for nobody
  test_world().barrier();
}

TEST_F(FaultTest, PartOfATensorIsNotAccepted) {
  auto comm = create(std::chrono::seconds(5));
  if (rank == 0) comm.send(at::ones({3}), 1).wait();
  if (rank == 1) {
    EXPECT_THAT(error_of([&] { comm.receive(at::zeros({4}), 0).wait(); }),
                HasSubstr("the sender's tensor has another size; a message of 3 elements came"));
  }
  test_world().barrier();
}

/// Short messages travel at once, long ones when the receiver is there.
TEST_F(FaultTest, LongerMessageThanExpectedIsAnError) {
  for (const auto& [sent, expected] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {5, 4}, {5'000, 4}, {5'000'000, 4}, {5'000'000, 4'999'999}}) {
    auto comm = create(std::chrono::seconds(5));
    if (rank == 0) {
      comm.send(at::ones({2}), 1).wait();
      EXPECT_THAT(error_of([&, count = sent] {
                    comm.send(at::ones({count}), 1).wait();  // short ones are gone
                    comm.barrier();
                  }),
                  HasSubstr("rank 1 failed"));
    } else if (rank == 1) {
      comm.receive(at::zeros({2}), 0).wait();
      EXPECT_THAT(error_of([&, count = expected] { comm.receive(at::zeros({count}), 0).wait(); }),
                  AllOf(HasSubstr(fmt::format("receive(from 0, tag 0) of {} float32", expected)),
                        HasSubstr(fmt::format("a message of {} elements came", sent))));
    }
    test_world().barrier();
  }
}

TEST_F(FaultTest, MessagesOfManySizesArriveInTheirOrder) {
  auto comm = create(std::chrono::seconds(5));
  for (int message = 0; message < 40 && rank < 2; ++message) {
    const at::Tensor sent = at::ones({1 + message % 3 * 40'000}) * message;
    if (rank == 0) comm.send(sent, 1, message % 2).wait();
    if (rank == 1) {
      const at::Tensor received = at::zeros_like(sent);
      comm.receive(received, 0, message % 2).wait();
      EXPECT_TRUE(received.equal(sent)) << message;
    }
  }
  comm.close();
}

TEST_F(FaultTest, OtherThreadsAreRefused) {
  auto comm = create(std::chrono::seconds(5));
  std::thread([&] {
    EXPECT_THAT(error_of([&] { comm.barrier(); }), HasSubstr("only from the thread that initialised it"));
  }).join();
  comm.close();
}

/// Two calls that do not belong together, and how each is shown.
struct Mismatch {
  const char* name;
  std::function<Work(Communicator&)> first;
  std::function<Work(Communicator&)> second;
  const char* first_text;
  const char* second_text;
};

class MismatchTest : public FaultTest, public testing::WithParamInterface<Mismatch> {};

TEST_P(MismatchTest, CheckedModeShowsBothCalls) {
  auto comm = create(std::chrono::seconds(10), /*checked=*/true);
  comm.all_reduce(at::ones({2})).wait();  // matching calls pass
  const int odd_one = size - 1;
  const auto text = error_of([&] { (rank == odd_one ? GetParam().second : GetParam().first)(comm).wait(); });
  EXPECT_THAT(text, HasSubstr("communicator 'trial': the ranks issued different operations"));
  const std::string others = size == 2 ? "rank 0: " : "ranks 0, 1: ";
  EXPECT_THAT(text, HasSubstr(others + GetParam().first_text));
  EXPECT_THAT(text, HasSubstr("rank " + std::to_string(odd_one) + ": " + GetParam().second_text));
  EXPECT_THAT(error_of([&] { comm.barrier(); }), HasSubstr("it failed before"));
  test_world().barrier();
}

const Mismatch kMismatches[] = {
    {"Operation", [](Communicator& c) { return c.all_reduce(at::ones({8})); },
     [](Communicator& c) { return c.broadcast(at::ones({8}), 0); }, "all_reduce(sum) of 8 float32 (#2)",
     "broadcast(root 0) of 8 float32 (#2)"},
    {"Size", [](Communicator& c) { return c.all_reduce(at::ones({8})); },
     [](Communicator& c) { return c.all_reduce(at::ones({9})); }, "all_reduce(sum) of 8 float32 (#2)",
     "all_reduce(sum) of 9 float32 (#2)"},
    {"Dtype", [](Communicator& c) { return c.all_reduce(at::ones({8})); },
     [](Communicator& c) { return c.all_reduce(at::ones({8}, at::kInt)); },
     "all_reduce(sum) of 8 float32 (#2)", "all_reduce(sum) of 8 int32 (#2)"},
    {"Reduction", [](Communicator& c) { return c.all_reduce(at::ones({8})); },
     [](Communicator& c) { return c.all_reduce(at::ones({8}), ReduceOp::max); },
     "all_reduce(sum) of 8 float32 (#2)", "all_reduce(max) of 8 float32 (#2)"},
    {"Root", [](Communicator& c) { return c.broadcast(at::ones({8}), 0); },
     [](Communicator& c) { return c.broadcast(at::ones({8}), 1); }, "broadcast(root 0) of 8 float32 (#2)",
     "broadcast(root 1) of 8 float32 (#2)"},
    {"Layout",
     [](Communicator& c) {
       return c.all_reduce(at::ones({1, 2, 2, 2}));
     },
     [](Communicator& c) {
       return c.all_reduce(at::ones({1, 2, 2, 2}).contiguous(at::MemoryFormat::ChannelsLast));
     },
     "all_reduce(sum) of 8 float32 (#2)", "all_reduce(sum) of 8 float32 (strided) (#2)"},
};
INSTANTIATE_TEST_SUITE_P(Kinds, MismatchTest, testing::ValuesIn(kMismatches),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(FaultTest, CheckedModeComparesBarriersToo) {
  auto comm = create(std::chrono::seconds(10), /*checked=*/true);
  const auto text = error_of([&] {
    if (rank == 0)
      comm.barrier();
    else
      comm.all_reduce(at::ones({1})).wait();
  });
  EXPECT_THAT(text, AllOf(HasSubstr("rank 0: barrier (#1)"), HasSubstr("all_reduce(sum) of 1 float32 (#1)")));
  test_world().barrier();
}

TEST_F(FaultTest, CheckedModeComparesReceiveWithSend) {
  auto comm = create(std::chrono::seconds(10), /*checked=*/true);
  const auto tensor = at::zeros({4});
  if (rank == 0) comm.send(at::ones({4}), 1, 2).wait();
  if (rank == 1) comm.receive(tensor, 0, 2).wait();
  EXPECT_EQ(tensor.sum().item<float>(), rank == 1 ? 4.0F : 0.0F);
  if (rank == 0) comm.send(at::ones({4}, at::kInt), 1, 2).wait();
  if (rank == 1) {
    EXPECT_THAT(error_of([&] { comm.receive(tensor, 0, 2).wait(); }),
                AllOf(HasSubstr("rank 0: send(to 1, tag 2) of 4 int32"),
                      HasSubstr("rank 1: receive(from 0, tag 2) of 4 float32")));
  }
  test_world().barrier();
}

TEST_F(FaultTest, CheckedModeTimesOutOnAMissingRank) {
  auto comm = create(milliseconds(300), /*checked=*/true);
  if (rank == 0) {
    EXPECT_THAT(error_of([&] { comm.broadcast(at::ones({8}), 0).wait(); }), HasSubstr("Silent: rank"));
  }
  test_world().barrier();
}

}  // namespace
}  // namespace bunchtrain::comm
