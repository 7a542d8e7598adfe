// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The suite that every backend passes: each operation with each dtype against a reference computed without
/// communication. A test program includes this once and defines the functions of `under_test`.

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bunchtrain/comm/communicator.hpp"
#include "bunchtrain/comm/detail/gather_rows.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm::under_test {

/// Collective: all ranks of the test program.
Communicator create(CommunicatorOptions options);
c10::Device device();

/// Small whole numbers, exact in every dtype even after a sum over ranks, different on each rank.
inline double value(int rank, std::int64_t index, at::ScalarType dtype) {
  const auto number = (index * 7 + rank * 3 + index / 5) % 4;
  return dtype == at::kBool ? static_cast<double>(number == 1) : static_cast<double>(number);
}

inline std::vector<double> values(int rank, std::int64_t numel, at::ScalarType dtype) {
  std::vector<double> result(static_cast<std::size_t>(numel));
  for (std::int64_t i = 0; i < numel; ++i) result[static_cast<std::size_t>(i)] = value(rank, i, dtype);
  return result;
}

inline at::Tensor to_tensor(const std::vector<double>& numbers, at::ScalarType dtype) {
  return at::tensor(numbers, at::kDouble).to(dtype).to(device());
}

inline std::vector<double> to_vector(const at::Tensor& tensor) {
  const auto numbers = tensor.to(at::kCPU).to(at::kDouble).contiguous();
  const auto* data = numbers.const_data_ptr<double>();
  return {data, data + numbers.numel()};
}

inline double combine(ReduceOp op, double a, double b, at::ScalarType dtype) {
  switch (op) {
    case ReduceOp::sum:
      return dtype == at::kBool ? std::max(a, b) : a + b;
    case ReduceOp::min:
      return std::min(a, b);
    case ReduceOp::max:
      return std::max(a, b);
  }
  return 0;
}

/// The reduction of all ranks' `values`.
inline std::vector<double> reduced(int size, std::int64_t numel, ReduceOp op, at::ScalarType dtype) {
  auto result = values(0, numel, dtype);
  for (int rank = 1; rank < size; ++rank) {
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = combine(op, result[i], value(rank, static_cast<std::int64_t>(i), dtype), dtype);
    }
  }
  return result;
}

inline std::vector<double> block(const std::vector<double>& all, std::int64_t index, std::int64_t size) {
  return {all.begin() + index * size, all.begin() + (index + 1) * size};
}

constexpr ReduceOp kOps[] = {ReduceOp::sum, ReduceOp::min, ReduceOp::max};
constexpr std::int64_t kSizes[] = {1, 7, 64, 5000};

}  // namespace bunchtrain::comm::under_test

namespace bunchtrain::comm {

class ConformanceTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  static void SetUpTestSuite() {
    shared_ = under_test::create({.timeout = std::chrono::seconds(20), .name = "conformance"});
  }
  static void TearDownTestSuite() {
    shared_->close();
    shared_.reset();
  }

  Communicator& comm() { return *shared_; }
  at::Tensor input(std::int64_t numel) {
    return under_test::to_tensor(under_test::values(comm().rank(), numel, GetParam()), GetParam());
  }
  at::Tensor zeros(std::int64_t numel) {
    return at::zeros({numel}, at::TensorOptions().dtype(GetParam()).device(under_test::device()));
  }

 private:
  static inline std::optional<Communicator> shared_;
};

TEST_P(ConformanceTest, AllReduce) {
  for (const auto op : under_test::kOps) {
    for (const auto numel : under_test::kSizes) {
      const auto tensor = input(numel);
      comm().all_reduce(tensor, op).wait();
      EXPECT_EQ(under_test::to_vector(tensor), under_test::reduced(comm().size(), numel, op, GetParam()));
    }
  }
}

TEST_P(ConformanceTest, LargeAllReduceOfAnOddSize) {
  constexpr std::int64_t kNumel = 500'003;  // many messages, the last one shorter
  for (const auto op : under_test::kOps) {
    const auto tensor = input(kNumel);
    comm().all_reduce(tensor, op).wait();
    EXPECT_TRUE(under_test::to_vector(tensor) == under_test::reduced(comm().size(), kNumel, op, GetParam()));
  }
}

TEST_P(ConformanceTest, ReduceScatter) {
  for (const auto op : under_test::kOps) {
    for (const auto numel : under_test::kSizes) {
      const auto output = zeros(numel);
      comm().reduce_scatter(output, input(numel * comm().size()), op).wait();
      const auto all = under_test::reduced(comm().size(), numel * comm().size(), op, GetParam());
      EXPECT_EQ(under_test::to_vector(output), under_test::block(all, comm().rank(), numel));
    }
  }
}

TEST_P(ConformanceTest, ReduceScatterInPlace) {
  constexpr std::int64_t kBlock = 100;
  const auto tensor = input(kBlock * comm().size());
  const auto mine = tensor.narrow(0, kBlock * comm().rank(), kBlock);
  comm().reduce_scatter(mine, tensor).wait();
  const auto all = under_test::reduced(comm().size(), kBlock * comm().size(), ReduceOp::sum, GetParam());
  EXPECT_EQ(under_test::to_vector(mine), under_test::block(all, comm().rank(), kBlock));
}

TEST_P(ConformanceTest, AllGather) {
  for (const auto numel : under_test::kSizes) {
    const auto output = zeros(numel * comm().size());
    comm().all_gather(output, input(numel)).wait();
    const auto all = under_test::to_vector(output);
    for (int rank = 0; rank < comm().size(); ++rank) {
      EXPECT_EQ(under_test::block(all, rank, numel), under_test::values(rank, numel, GetParam()));
    }
  }
}

TEST_P(ConformanceTest, AllGatherInPlace) {
  constexpr std::int64_t kBlock = 100;
  const auto tensor = zeros(kBlock * comm().size());
  const auto mine = tensor.narrow(0, kBlock * comm().rank(), kBlock);
  mine.copy_(input(kBlock));
  comm().all_gather(tensor, mine).wait();
  const auto all = under_test::to_vector(tensor);
  for (int rank = 0; rank < comm().size(); ++rank) {
    EXPECT_EQ(under_test::block(all, rank, kBlock), under_test::values(rank, kBlock, GetParam()));
  }
}

TEST_P(ConformanceTest, BroadcastFromEveryRoot) {
  for (int root = 0; root < comm().size(); ++root) {
    for (const auto numel : under_test::kSizes) {
      const auto tensor = input(numel);
      comm().broadcast(tensor, root).wait();
      EXPECT_EQ(under_test::to_vector(tensor), under_test::values(root, numel, GetParam()));
    }
  }
}

TEST_P(ConformanceTest, AllToAll) {
  for (const auto numel : under_test::kSizes) {
    const auto output = zeros(numel * comm().size());
    comm().all_to_all(output, input(numel * comm().size())).wait();
    const auto all = under_test::to_vector(output);
    for (int rank = 0; rank < comm().size(); ++rank) {
      const auto theirs = under_test::values(rank, numel * comm().size(), GetParam());
      EXPECT_EQ(under_test::block(all, rank, numel), under_test::block(theirs, comm().rank(), numel));
    }
  }
}

TEST_P(ConformanceTest, SendAndReceiveAroundARing) {
  const int next = (comm().rank() + 1) % comm().size();
  const int previous = (comm().rank() + comm().size() - 1) % comm().size();
  for (const auto numel : under_test::kSizes) {
    const auto received = zeros(numel);
    auto sending = comm().send(input(numel), next, 3);
    auto receiving = comm().receive(received, previous, 3);
    sending.wait();
    receiving.wait();
    EXPECT_EQ(under_test::to_vector(received), under_test::values(previous, numel, GetParam()));
  }
}

TEST_P(ConformanceTest, EmptyTensorsAreComplete) {
  const auto empty = zeros(0);
  comm().all_reduce(empty).wait();
  comm().reduce_scatter(zeros(0), empty).wait();
  comm().all_gather(zeros(0), empty).wait();
  comm().broadcast(empty, comm().size() - 1).wait();
  comm().all_to_all(zeros(0), empty).wait();
  EXPECT_EQ(empty.numel(), 0);
}

TEST_P(ConformanceTest, ChannelsLastKeepsItsElements) {
  const auto plain = input(2 * 3 * 4 * 5).view({2, 3, 4, 5});
  const auto tensor = plain.contiguous(at::MemoryFormat::ChannelsLast);
  comm().all_reduce(tensor).wait();
  EXPECT_EQ(under_test::to_vector(tensor),
            under_test::reduced(comm().size(), plain.numel(), ReduceOp::sum, GetParam()));
}

TEST_P(ConformanceTest, OperationsOverlapInOneOrder) {
  constexpr int kInFlight = 6;
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  for (int i = 0; i < kInFlight; ++i) {
    tensors.push_back(input(1000 + i % 2 * 60'000 + i));  // short and long ones
    works.push_back(comm().all_reduce(tensors.back()));
  }
  std::reverse(works.begin(), works.end());  // waiting needs no order
  for (auto& work : works) work.wait();
  for (const auto& tensor : tensors) {
    EXPECT_EQ(under_test::to_vector(tensor),
              under_test::reduced(comm().size(), tensor.numel(), ReduceOp::sum, GetParam()));
  }
}

/// Rank r has 3 r rows of its own.
TEST_P(ConformanceTest, RowsOfAllRanksOnOne) {
  constexpr std::int64_t kColumns = 5;
  const auto numbers_of = [](int rank) { return under_test::values(rank, 3 * rank * kColumns, GetParam()); };
  std::vector<double> expected;
  for (int rank = 0; rank < comm().size(); ++rank)
    for (const double number : numbers_of(rank)) expected.push_back(number);

  const auto mine = under_test::to_tensor(numbers_of(comm().rank()), GetParam()).cpu().view({-1, kColumns});
  for (int root = 0; root < comm().size(); ++root) {
    const auto all = gather_rows(mine, comm(), root);
    EXPECT_EQ(all.size(1), kColumns);
    EXPECT_EQ(all.scalar_type(), GetParam());
    EXPECT_EQ(under_test::to_vector(all), comm().rank() == root ? expected : std::vector<double>());
  }
}

inline std::string dtype_name(const testing::TestParamInfo<at::ScalarType>& info) {
  return c10::toString(info.param);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ConformanceTest,
                         testing::Values(at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kChar,
                                         at::kInt, at::kLong, at::kByte, at::kBool),
                         dtype_name);

}  // namespace bunchtrain::comm
