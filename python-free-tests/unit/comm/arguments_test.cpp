// SPDX-License-Identifier: Apache-2.0
// What one rank can see alone is refused before anything is sent.
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ArgumentsTest : public testing::Test {
 protected:
  ~ArgumentsTest() override { comm.close(); }

  std::string refusal(const std::function<Work()>& action) {
    try {
      action().wait();
    } catch (const ConfigError& error) {
      return error.message();
    }
    ADD_FAILURE() << "no ConfigError";
    return {};
  }

  Communicator comm = Communicator::self();
};

TEST_F(ArgumentsTest, NonContiguousTensorsAreRefusedWithTheWayOut) {
  const auto slice = at::ones({4, 6}).slice(1, 0, 3);
  EXPECT_THAT(refusal([&] { return comm.all_reduce(slice); }),
              AllOf(HasSubstr("all_reduce: "), HasSubstr("not dense"), HasSubstr("contiguous()")));
  EXPECT_THAT(refusal([&] { return comm.broadcast(at::ones({1}).expand({5}), 0); }), HasSubstr("not dense"));
}

TEST_F(ArgumentsTest, TransposedTensorsAreDense) {
  EXPECT_NO_THROW(comm.all_reduce(at::ones({4, 6}).t()).wait());
}

TEST_F(ArgumentsTest, UndefinedSparseAndForeignDtypesAreRefused) {
  EXPECT_THAT(refusal([&] { return comm.all_reduce({}); }), HasSubstr("is undefined"));
  EXPECT_THAT(refusal([&] {
                return comm.all_reduce(at::ones({3, 3}).to_sparse());
              }),
              HasSubstr("to_dense()"));
  EXPECT_THAT(refusal([&] { return comm.all_reduce(at::ones({3}, at::kComplexFloat)); }),
              AllOf(HasSubstr("ComplexFloat"), HasSubstr("allowed are float64")));
}

TEST_F(ArgumentsTest, SizesAndDtypesMustFit) {
  EXPECT_THAT(refusal([&] { return comm.all_gather(at::zeros({7}), at::ones({8})); }),
              AllOf(HasSubstr("input has 8 elements, output 7"), HasSubstr("ranks x input")));
  EXPECT_THAT(refusal([&] { return comm.reduce_scatter(at::zeros({9}), at::ones({8})); }),
              HasSubstr("ranks x output"));
  EXPECT_THAT(refusal([&] { return comm.all_to_all(at::zeros({9}), at::ones({8})); }),
              HasSubstr("divisible"));
  EXPECT_THAT(refusal([&] { return comm.all_gather(at::zeros({8}, at::kInt), at::ones({8})); }),
              HasSubstr("different dtypes"));
}

TEST_F(ArgumentsTest, PartlyOverlappingTensorsAreRefused) {
  const auto memory = at::ones({10});
  EXPECT_THAT(refusal([&] { return comm.all_gather(memory.slice(0, 0, 8), memory.slice(0, 2, 10)); }),
              HasSubstr("overlap"));
}

TEST_F(ArgumentsTest, RanksAndTagsMustExist) {
  EXPECT_THAT(refusal([&] { return comm.broadcast(at::ones({3}), 1); }),
              HasSubstr("root is 1, which is no rank of a world of 1"));
  EXPECT_THAT(refusal([&] { return comm.send(at::ones({3}), -1); }), HasSubstr("peer is -1"));
  EXPECT_THAT(refusal([&] { return comm.receive(at::ones({3}), 0, 40000); }),
              HasSubstr("tag is 40000; allowed are 0 to"));
}

TEST_F(ArgumentsTest, RefusedArgumentsDoNotPoison) {
  refusal([&] { return comm.all_reduce({}); });
  EXPECT_NO_THROW(comm.all_reduce(at::ones({3})).wait());
}

TEST_F(ArgumentsTest, LeafTensorsWithGradientsAreAccepted) {
  const auto input = at::arange(4, at::kFloat).requires_grad_();
  const auto output = at::zeros({4}).requires_grad_();
  comm.all_gather(output, input).wait();
  EXPECT_TRUE(output.equal(input));
}

TEST_F(ArgumentsTest, PoisonedCommunicatorRefusesEverything) {
  auto poisoned = Communicator::self();
  poisoned.poison("the disk is full");
  try {
    poisoned.barrier();
    ADD_FAILURE() << "no CommError";
  } catch (const CommError& error) {
    EXPECT_THAT(error.message(),
                AllOf(HasSubstr("barrier on communicator 'self'"), HasSubstr("the disk is full")));
  }
  EXPECT_THROW(poisoned.all_reduce(at::ones({1})), CommError);
  EXPECT_NO_THROW(poisoned.close());
}

TEST(SelfReceiveTest, WaitsForItsSendByTag) {
  auto comm = Communicator::self();
  const auto first = at::zeros({2});
  const auto second = at::zeros({2});
  auto receiving = comm.receive(first, 0, 5);
  EXPECT_FALSE(receiving.poll());
  const auto sent = at::ones({2});
  comm.send(sent, 0, 6).wait();
  comm.send(sent.mul(2), 0, 5).wait();
  sent.zero_();  // a completed send no longer needs its tensor
  receiving.wait();
  comm.receive(second, 0, 6).wait();
  EXPECT_EQ(first.sum().item<float>(), 4.0F);
  EXPECT_EQ(second.sum().item<float>(), 2.0F);
  comm.close();
}

TEST(SelfReceiveTest, TimesOutWithoutASend) {
  auto comm = Communicator::create(mpi::Comm::self(), c10::kCPU,
                                   {.timeout = std::chrono::milliseconds(50), .name = "alone"});
  try {
    comm.receive(at::zeros({2}), 0).wait();
    ADD_FAILURE() << "no CommError";
  } catch (const CommError& error) {
    EXPECT_THAT(error.message(),
                HasSubstr("receive(from 0, tag 0) of 2 float32 is not complete after 0.05 s"));
  }
}

TEST(SelfReceiveTest, TimeWithoutPollingDoesNotCount) {
  auto comm = Communicator::create(mpi::Comm::self(), c10::kCPU, {.timeout = std::chrono::milliseconds(100)});
  auto receiving = comm.receive(at::zeros({2}), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(250));  // computing, say
  EXPECT_FALSE(receiving.poll());
  EXPECT_THROW(receiving.wait(), CommError);
}

TEST(BackendTest, NamesRoundTrip) {
  for (const auto backend : {Backend::automatic, Backend::self, Backend::mpi, Backend::nccl}) {
    EXPECT_EQ(parse_backend(to_string(backend)), backend);
  }
  EXPECT_THROW(parse_backend("gloo"), ConfigError);
}

TEST(BackendTest, UnfitBackendsAreRefused) {
  EXPECT_THROW(Communicator::create(mpi::Comm::self(), c10::kCPU, {.backend = Backend::mpi}), ConfigError);
  // A build without NCCL names the option, one with it the device.
  EXPECT_THROW(Communicator::create(mpi::Comm::self(), c10::kCPU, {.backend = Backend::nccl}), Error);
}

TEST(BackendTest, LimitsMustBePositive) {
  EXPECT_THROW(CommunicatorOptions{.timeout = std::chrono::milliseconds(0)}.validate(), ConfigError);
  EXPECT_THROW(CommunicatorOptions{.abort_timeout = std::chrono::milliseconds(0)}.validate(), ConfigError);
  EXPECT_THROW(CommunicatorOptions{.max_message_elements = 0}.validate(), ConfigError);
  EXPECT_NO_THROW(CommunicatorOptions{}.validate());
}

}  // namespace
}  // namespace bunchtrain::comm
