// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/tensorboard_writer.hpp"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>

#include "bunchtrain/core/error.hpp"
#include "event_reader.hpp"
#include "temporary_folder.hpp"

namespace bunchtrain::report {
namespace {

class TensorBoardWriterTest : public TemporaryFolder {
 protected:
  std::vector<Message> events(const TensorBoardWriter& writer) const {
    return parse_events(read(writer.path().filename()));
  }
  static Message only_value(const Message& event) {
    return parse_message(parse_message(event.at(5).at(0)).at(1).at(0));
  }
};

TEST(Crc32cTest, MatchesThePublishedCheckValue) {
  const std::string check = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(check))), 0xE3069283u);
  EXPECT_EQ(slow_crc32c(check), 0xE3069283u);
}

TEST_F(TensorBoardWriterTest, BeginsWithTheVersion) {
  const TensorBoardWriter writer(folder_);
  EXPECT_THAT(writer.path().filename().string(), testing::HasSubstr("tfevents"));
  const auto all = events(writer);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].at(3).at(0), "brain.Event:2");
  EXPECT_GT(as<double>(all[0].at(1).at(0)), 1.6e9);
}

TEST_F(TensorBoardWriterTest, Scalars) {
  TensorBoardWriter writer(folder_);
  writer.add_scalar("loss/train", 0.25, 300);
  const Message event = events(writer).at(1);
  EXPECT_EQ(as<std::int64_t>(event.at(2).at(0)), 300);
  const Message value = only_value(event);
  EXPECT_EQ(value.at(1).at(0), "loss/train");
  EXPECT_EQ(as<float>(value.at(2).at(0)), 0.25f);
}

TEST_F(TensorBoardWriterTest, HistogramsCountEveryFiniteValue) {
  TensorBoardWriter writer(folder_);
  const std::vector<double> values{-1, 0, 0.5, 2, std::nan(""), INFINITY};
  writer.add_histogram("scores", values, 1);
  const Message histogram = parse_message(only_value(events(writer).at(1)).at(5).at(0));
  EXPECT_EQ(as<double>(histogram.at(1).at(0)), -1);
  EXPECT_EQ(as<double>(histogram.at(2).at(0)), 2);
  EXPECT_EQ(as<double>(histogram.at(3).at(0)), 4);
  EXPECT_EQ(as<double>(histogram.at(4).at(0)), 1.5);
  EXPECT_EQ(as<double>(histogram.at(5).at(0)), 5.25);
  const std::string limits = histogram.at(6).at(0), counts = histogram.at(7).at(0);
  ASSERT_EQ(limits.size(), counts.size());
  double sum = 0, last_limit = -1;
  for (std::size_t at = 0; at < counts.size(); at += 8) {
    sum += as<double>(counts.substr(at, 8));
    EXPECT_GT(as<double>(limits.substr(at, 8)), last_limit);
    last_limit = as<double>(limits.substr(at, 8));
  }
  EXPECT_EQ(sum, 4);
}

TEST_F(TensorBoardWriterTest, EqualValuesAndNoValuesAreFine) {
  TensorBoardWriter writer(folder_);
  writer.add_histogram("none", {}, 1);
  writer.add_histogram("same", std::vector<double>{3, 3, 3}, 1);
  EXPECT_EQ(events(writer).size(), 2u);
}

TEST_F(TensorBoardWriterTest, TextsAndRestarts) {
  TensorBoardWriter writer(folder_);
  writer.add_text("card", "[inputs]", 0);
  writer.mark_restart(120);
  writer.sync();
  const auto all = events(writer);
  const Message value = only_value(all.at(1));
  EXPECT_EQ(parse_message(value.at(8).at(0)).at(8).at(0), "[inputs]");
  EXPECT_EQ(parse_message(parse_message(value.at(9).at(0)).at(1).at(0)).at(1).at(0), "text");
  EXPECT_EQ(as<std::int64_t>(all.at(2).at(2).at(0)), 120);
  EXPECT_EQ(as<std::int64_t>(parse_message(all.at(2).at(7).at(0)).at(1).at(0)), 1);
}

TEST_F(TensorBoardWriterTest, AnEventThatCouldNotBeWrittenLeavesTheFileWhole) {
  TensorBoardWriter writer(folder_);
  writer.add_scalar("a", 1, 1);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{.rlim_cur = std::filesystem::file_size(writer.path()) + 10, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_THROW(writer.add_scalar("b", 2, 2), DataError);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  writer.add_scalar("c", 3, 3);
  const auto all = events(writer);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(only_value(all.at(2)).at(1).at(0), "c");
}

TEST_F(TensorBoardWriterTest, EveryWriterHasAFileOfItsOwn) {
  const TensorBoardWriter first(folder_ / "new"), second(folder_ / "new");
  EXPECT_NE(first.path(), second.path());
}

TEST_F(TensorBoardWriterTest, NamesTheFolderThatCannotBeMade) {
  write("file", "");
  try {
    TensorBoardWriter writer(folder_ / "file" / "events");
    FAIL() << "a folder below a file was accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("file/events"));
  }
}

}  // namespace
}  // namespace bunchtrain::report
