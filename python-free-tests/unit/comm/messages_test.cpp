// SPDX-License-Identifier: Apache-2.0
// The texts that people read when ranks go apart; tests the private parts of the module.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bunchtrain/mpi/detail/flight_record.hpp"
#include "diagnosis.hpp"

namespace bunchtrain::comm::detail {
namespace {

using FlightRecord = mpi::FlightRecord<Call>;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

Call call(Operation operation, std::int64_t numel = 10, std::uint64_t sequence = 4) {
  return {.sequence = sequence,
          .numel = numel,
          .operation = operation,
          .dtype = at::kBFloat16,
          .root = 2,
          .tag = 9};
}

TEST(CallTest, IsDescribedAsWritten) {
  EXPECT_EQ(describe(call(Operation::all_reduce)), "all_reduce(sum) of 10 bfloat16 (#4)");
  EXPECT_EQ(describe(call(Operation::broadcast)), "broadcast(root 2) of 10 bfloat16 (#4)");
  EXPECT_EQ(describe(call(Operation::send)), "send(to 2, tag 9) of 10 bfloat16");
  EXPECT_EQ(describe(Call{.sequence = 3, .operation = Operation::barrier}), "barrier (#3)");
  EXPECT_EQ(describe(Call{}), "no operation yet");
}

TEST(FlightRecordTest, ShowsTheLatestOperationsAndTheirState) {
  FlightRecord record;
  EXPECT_EQ(record.last().operation, Operation::none);
  EXPECT_EQ(record.tail(3), "");
  record.start(call(Operation::all_reduce), "training");
  const auto ticket = record.start(call(Operation::all_gather, 5, 5));
  record.complete(ticket);
  EXPECT_THAT(
      record.tail(3),
      ContainsRegex(
          "^  [0-9:.]+ all_reduce\\(sum\\) of 10 bfloat16 \\(#4\\), training: in flight since 0\\.[0-9]+ "
          "s\n  [0-9:.]+ all_gather of 5 bfloat16 \\(#5\\): complete after 0\\.[0-9]+ s\n$"));
  EXPECT_THAT(record.tail(1), ContainsRegex("^  [0-9]+:[0-9]+:[0-9]+\\.[0-9]+ all_gather"));
}

TEST(FlightRecordTest, IsBounded) {
  FlightRecord record;
  const auto oldest = record.start(call(Operation::broadcast, 1, 1));
  for (std::uint64_t i = 0; i < FlightRecord::kCapacity; ++i)
    record.start(call(Operation::all_reduce, 1, i + 2));
  record.complete(oldest);  // forgotten: must not mark its successor in the ring
  EXPECT_THAT(record.tail(1000), Not(HasSubstr("complete")));
  EXPECT_EQ(record.last().sequence, FlightRecord::kCapacity + 1);
}

TEST(DiagnosisTest, MismatchGroupsTheRanks) {
  const auto text = describe_mismatch("world", {call(Operation::all_reduce), call(Operation::all_gather),
                                                call(Operation::all_reduce), call(Operation::all_reduce)});
  EXPECT_THAT(text, HasSubstr("\n  ranks 0, 2, 3: all_reduce(sum) of 10 bfloat16 (#4)"));
  EXPECT_THAT(text, HasSubstr("\n  rank 1: all_gather of 10 bfloat16 (#4)"));
}

std::string timeout_text(const std::vector<PeerState>& peers) {
  return describe_timeout({.communicator = "world",
                           .rank = 0,
                           .call = call(Operation::all_reduce),
                           .timeout = std::chrono::seconds(10),
                           .peers = peers,
                           .last_operations = "  none\n"});
}

TEST(DiagnosisTest, TimeoutNamesSilentRanks) {
  const PeerState here{.heard = true, .gave_up = false, .call = call(Operation::all_reduce)};
  const auto text = timeout_text({{}, here, {}, {}});
  EXPECT_THAT(text, HasSubstr("is not complete after 10 s. Silent: ranks 2, 3 "));
  EXPECT_THAT(text, HasSubstr("\n  rank 1: in all_reduce(sum) of 10 bfloat16 (#4)"));
}

TEST(DiagnosisTest, TimeoutTellsSlowStorageFromADeadRank) {
  const PeerState reads{.heard = true, .gave_up = false, .call = call(Operation::reading)};
  EXPECT_THAT(timeout_text({{}, reads}), HasSubstr("slow storage: rank 1 still waiting for data"));
}

TEST(DiagnosisTest, TimeoutTellsThePhaseAndTheProcesses) {
  const std::vector<PeerState> peers(2);
  const auto text = describe_timeout({.communicator = "world",
                                      .rank = 0,
                                      .call = call(Operation::all_reduce),
                                      .timeout = std::chrono::seconds(10),
                                      .peers = peers,
                                      .last_operations = "  none\n",
                                      .phase = "training",
                                      .describe_ranks = [](std::span<const int>) {
                                        return std::string("rank 1 (process 4711 on node7 is stopped)");
                                      }});
  EXPECT_THAT(text,
              HasSubstr("after 10 s (while training). Silent: rank 1 (process 4711 on node7 is stopped)"));
}

TEST(DiagnosisTest, TimeoutTellsRanksThatLeftTheOrder) {
  const PeerState elsewhere{.heard = true, .gave_up = true, .call = call(Operation::broadcast)};
  const auto text = timeout_text({{}, elsewhere});
  EXPECT_THAT(text, HasSubstr("the common order was left"));
  EXPECT_THAT(text, HasSubstr("\n  rank 1: gave up in broadcast(root 2)"));
}

TEST(DiagnosisTest, TimeoutTellsRanksThatWaitInAnotherCommunicator) {
  const PeerState elsewhere{
      .heard = true, .gave_up = false, .call = call(Operation::all_reduce), .communicator = "data"};
  const auto text = timeout_text({{}, elsewhere});
  EXPECT_THAT(text, HasSubstr("the common order was left"));
  EXPECT_THAT(text, HasSubstr("in all_reduce(sum) of 10 bfloat16 (#4) on communicator 'data'"));
}

TEST(DiagnosisTest, TimeoutWithoutACulpritBlamesTheTimeout) {
  const PeerState here{.heard = true, .gave_up = false, .call = call(Operation::all_reduce)};
  EXPECT_THAT(timeout_text({{}, here}), HasSubstr("CommunicatorOptions::timeout"));
}

}  // namespace
}  // namespace bunchtrain::comm::detail
