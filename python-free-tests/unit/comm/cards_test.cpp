// SPDX-License-Identifier: Apache-2.0
// Ranks that share a GPU are found out before NCCL is asked.
#include "cards.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::comm::detail {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kFirst = "0000:1B:00.0";
constexpr const char* kSecond = "0000:43:00.0";

RankCard on(std::string node, std::string card, std::string nccl_host = {}) {
  return {"boot-of-" + node, std::move(node), std::move(card), std::move(nccl_host)};
}

std::string refusal(const std::vector<RankCard>& ranks) {
  try {
    judge_backend(Backend::nccl, ranks);
  } catch (const ConfigError& error) {
    return error.message();
  }
  ADD_FAILURE() << "no ConfigError";
  return {};
}

void expect_choice(Backend asked, const std::vector<RankCard>& ranks, Backend expected,
                   const testing::Matcher<std::string>& notice) {
  const auto choice = judge_backend(asked, ranks);
  EXPECT_EQ(choice.backend, expected);
  EXPECT_THAT(choice.notice, notice);
}

TEST(CardsTest, RanksWithAGpuEachTakeNccl) {
  const std::vector<RankCard> ranks = {on("n1", kFirst), on("n1", kSecond), on("n2", kFirst),
                                       on("n2", kSecond)};
  expect_choice(Backend::automatic, ranks, Backend::nccl, IsEmpty());
  expect_choice(Backend::nccl, ranks, Backend::nccl, IsEmpty());
}

TEST(CardsTest, RanksOnTheCpuTakeMpiWithoutAWord) {
  expect_choice(Backend::automatic, {on("n1", ""), on("n1", "")}, Backend::mpi, IsEmpty());
}

TEST(CardsTest, RanksOnOneGpuTakeMpiAndSayWhy) {
  expect_choice(
      Backend::automatic, {on("n1", kFirst), on("n2", kFirst), on("n1", kSecond), on("n1", kFirst)},
      Backend::mpi,
      AllOf(HasSubstr("backend mpi, not nccl"), HasSubstr("ranks 0, 3 share the GPU 0000:1B:00.0 of n1"),
            HasSubstr("as many ranks per node as it has GPUs")));
}

TEST(CardsTest, NcclOnOneGpuIsRefusedWithTheWayToStart) {
  EXPECT_THAT(refusal({on("n1", kFirst), on("n1", kFirst)}),
              AllOf(HasSubstr("backend nccl takes one rank per GPU"),
                    HasSubstr("ranks 0, 1 share the GPU 0000:1B:00.0 of n1"), HasSubstr("mpirun --map-by"),
                    HasSubstr("CUDA_VISIBLE_DEVICES"), HasSubstr("backend = mpi")));
  EXPECT_THAT(refusal({on("n1", kFirst, "same"), on("n1", kFirst, "same")}), HasSubstr("share the GPU"));
}

TEST(CardsTest, RanksThatPassForDifferentMachinesMayShareAGpuIfAskedTo) {
  const std::vector<RankCard> ranks = {on("n1", kFirst, "rank0"), on("n1", kFirst, "rank1")};
  expect_choice(Backend::nccl, ranks, Backend::nccl,
                AllOf(HasSubstr("NCCL_HOSTID"), HasSubstr("for tests only")));
  expect_choice(Backend::automatic, ranks, Backend::mpi, HasSubstr("share the GPU"));
}

TEST(CardsTest, OneNcclNameForTwoMachinesIsRefusedAsNcclWould) {
  const std::vector<RankCard> ranks = {on("n1", kFirst, "node"), on("n2", kFirst, "node")};
  EXPECT_THAT(refusal(ranks), AllOf(HasSubstr("ranks 0, 1"), HasSubstr("NCCL_HOSTID=node")));
  expect_choice(Backend::automatic, ranks, Backend::mpi, HasSubstr("NCCL_HOSTID=node"));
}

TEST(CardsTest, AMixOfCpuAndGpuTakesMpi) {
  const std::vector<RankCard> ranks = {on("n1", kFirst), on("n2", "")};
  expect_choice(Backend::automatic, ranks, Backend::mpi, HasSubstr("the tensors of rank 1 are on a CPU"));
  EXPECT_THAT(refusal(ranks), AllOf(HasSubstr("nccl"), HasSubstr("rank 1")));
}

}  // namespace
}  // namespace bunchtrain::comm::detail
