// SPDX-License-Identifier: Apache-2.0
// What happens when NCCL or the GPU hangs, on a machine without either.
#include "nccl/watchdog.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>

#include "fake_nccl.hpp"

namespace bunchtrain::comm::detail {
namespace {

using namespace std::chrono_literals;
using test::fake_gpu;
using testing::HasSubstr;

/// Waits until a thread of the code under test has done its part; a test that waits
/// in vain is ended by CTest.
template <class Condition>
void wait_until(Condition condition) {
  while (!condition()) std::this_thread::sleep_for(1ms);
}

class NcclWatchdogTest : public testing::Test {
 protected:
  NcclWatchdogTest() { test::reset_fake_gpu(); }

  NcclLimits limits(std::chrono::milliseconds accept = 10s) {
    return {.accept = accept, .abort = 20ms, .on_hang = [this](const std::string& reason) {
              hang_.set_value(reason);
            }};
  }
  static std::shared_ptr<NcclOperation> make_operation() {
    auto operation = std::make_shared<NcclOperation>();
    operation->call = {.sequence = 7, .numel = 100, .operation = Operation::all_reduce, .dtype = at::kFloat};
    operation->launched = true;
    return operation;
  }

  mpi::Comm alone_ = mpi::Comm::self();
  std::promise<std::string> hang_;
};

TEST_F(NcclWatchdogTest, AnAbortThatHangsEndsTheProcessWithBothReasons) {
  std::promise<void> way_out;  // NCCL does not come back by itself
  fake_gpu().on_abort = [&] { way_out.get_future().wait(); };
  NcclCommunicator communicator(alone_, limits());
  auto hang = hang_.get_future();
  std::thread giving_up([&] { communicator.abort("rank 1 is missing"); });
  const std::string reason = hang.get();
  // Who polls meanwhile is not held up.
  EXPECT_EQ(communicator.asynchronous_error(), "rank 1 is missing");
  way_out.set_value();
  giving_up.join();
  EXPECT_THAT(reason, HasSubstr("rank 1 is missing; then NCCL did not give up within 0.02 s"));
}

using NcclWatchdogDeathTest = NcclWatchdogTest;
TEST_F(NcclWatchdogDeathTest, WithoutAListenerTheProcessIsToBeTriedAgain) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto hang = [] {
    fake_gpu().on_abort = [] { std::promise<void>().get_future().wait(); };
    NcclCommunicator(mpi::Comm::self(),
                     limits_of({.logger = Logger(make_stderr_sink()), .abort_timeout = 20ms}))
        .abort("rank 1 is missing");
  };
  EXPECT_EXIT(hang(), testing::ExitedWithCode(75), "error: rank 1 is missing; then NCCL did not give up");
}

TEST_F(NcclWatchdogTest, AnAbortThatReturnsEndsNothing) {
  { NcclCommunicator communicator(alone_, limits()); }
  EXPECT_EQ(fake_gpu().aborts, 1);
  EXPECT_EQ(hang_.get_future().wait_for(100ms), std::future_status::timeout);
}

/// NCCL gives up when the graphs have ended, and it is the thread that heard of the failure that ends them.
TEST_F(NcclWatchdogTest, AnAbortDoesNotWaitForTheEndOfGraphs) {
  std::promise<void> graphs_end;
  fake_gpu().on_abort = [&] { graphs_end.get_future().wait(); };
  {
    NcclLimits patient = limits();
    patient.abort = 10s;
    NcclCommunicator communicator(alone_, std::move(patient));
    communicator.expect_graphs();
    communicator.abort("rank 1 is missing");
    EXPECT_EQ(communicator.asynchronous_error(), "rank 1 is missing");
    wait_until([] { return fake_gpu().aborts == 1; });
    graphs_end.set_value();
  }
  EXPECT_EQ(fake_gpu().aborts, 1);
  EXPECT_EQ(hang_.get_future().wait_for(1ms), std::future_status::timeout);
}

TEST_F(NcclWatchdogTest, ARepeatedStepThatHangsIsNamed) {
  NcclCommunicator communicator(alone_, limits());
  Watchdog watchdog(communicator, 0, 1ms);
  const auto step = make_operation();
  step->call = {.sequence = 9, .operation = Operation::captured_step, .tag = 2};
  watchdog.watch(step);
  fake_gpu().pass(step->ready.get());
  wait_until([&] { return fake_gpu().aborts == 1; });
  EXPECT_THAT(communicator.asynchronous_error(),
              HasSubstr("captured step(graph 2) (#9) did not complete in time and was aborted"));
}

TEST_F(NcclWatchdogTest, IssuingDoesNotWaitForNccl) {
  NcclCommunicator communicator(alone_, limits());
  const auto accept = [](ncclComm_t) { return ncclInProgress; };
  communicator.issue("first", accept);
  fake_gpu().state = ncclInProgress;
  EXPECT_FALSE(communicator.is_settled());
  std::thread nccl([] {
    std::this_thread::sleep_for(5ms);
    fake_gpu().state = ncclSuccess;
  });
  communicator.issue("second", accept);  // waits for the first
  EXPECT_EQ(fake_gpu().state, ncclSuccess);
  nccl.join();
}

TEST_F(NcclWatchdogTest, WorkThatNcclNeverTakesOnNamesTheOperation) {
  NcclCommunicator communicator(alone_, limits(20ms));
  communicator.issue("all_reduce(sum) of 3 float32", [](ncclComm_t) { return ncclInProgress; });
  fake_gpu().state = ncclInProgress;
  try {
    communicator.settle();
    ADD_FAILURE() << "no CommError";
  } catch (const CommError& error) {
    EXPECT_THAT(error.message(),
                HasSubstr("all_reduce(sum) of 3 float32: NCCL did not accept it within 0.02 s"));
  }
  EXPECT_EQ(fake_gpu().aborts, 1);
}

/// As the communicator does when the host's channel brings a peer's failure.
TEST_F(NcclWatchdogTest, WhoWaitsForNcclHearsOfAPeerThatFailed) {
  NcclCommunicator communicator(alone_, limits(1h));
  int served = 0;
  communicator.while_waiting([&] {
    if (++served < 3) return;
    communicator.abort("rank 1 failed");
    throw CommError("rank 1 failed");
  });
  communicator.issue("all_reduce(sum) of 3 float32", [](ncclComm_t) { return ncclInProgress; });
  EXPECT_EQ(served, 0) << "nothing is waited for yet";
  fake_gpu().state = ncclInProgress;
  EXPECT_THROW(communicator.settle(), CommError);
  EXPECT_EQ(served, 3);
  EXPECT_EQ(fake_gpu().aborts, 1);
}

TEST_F(NcclWatchdogTest, TimeCountsFromWhenTheGpuGetsToTheOperation) {
  NcclCommunicator communicator(alone_, limits());
  Watchdog watchdog(communicator, 0, 1ms);
  const auto first = make_operation(), second = make_operation();
  watchdog.watch(first);
  watchdog.watch(second);
  std::this_thread::sleep_for(400ms);  // longer than the timeout: the GPU is busy with what came before
  EXPECT_FALSE(watchdog.timed_out());
  EXPECT_FALSE(first->begun);

  fake_gpu().pass(second->ready.get());  // still behind the first
  fake_gpu().pass(first->ready.get());
  fake_gpu().pass(first->done.get());
  wait_until([&] { return watchdog.timed_out(); });
  EXPECT_FALSE(first->begun);
  EXPECT_TRUE(second->begun);
  wait_until([&] { return fake_gpu().aborts == 1; });
  EXPECT_THAT(communicator.asynchronous_error(),
              HasSubstr("all_reduce(sum) of 100 float32 (#7) did not complete in time and was aborted"));
}

TEST_F(NcclWatchdogTest, CapturesAreLeftAlone) {
  NcclCommunicator communicator(alone_, limits());
  Watchdog watchdog(communicator, 0, 1ms);
  const auto captured = make_operation(), plain = make_operation();
  captured->captured = true;
  watchdog.watch(captured);
  watchdog.watch(plain);
  fake_gpu().pass(captured->ready.get());
  fake_gpu().pass(plain->ready.get());
  wait_until([&] { return watchdog.timed_out(); });
  EXPECT_TRUE(plain->begun);
  EXPECT_FALSE(captured->begun);
  EXPECT_EQ(fake_gpu().queries_in_global_mode, 0);
}

}  // namespace
}  // namespace bunchtrain::comm::detail
