// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/report/jsonl_writer.hpp"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>

#include "bunchtrain/core/error.hpp"
#include "temporary_folder.hpp"

namespace bunchtrain::report {
namespace {

class JsonlWriterTest : public TemporaryFolder {
 protected:
  std::filesystem::path path_ = folder_ / "metrics.jsonl";
};

Record step(std::int64_t number) { return {{"kind", "step"}, {"step", number}}; }

TEST_F(JsonlWriterTest, EachRecordIsReadableAtOnce) {
  JsonlWriter writer(path_);
  writer.append(step(1));
  EXPECT_EQ(read("metrics.jsonl"), "{\"kind\":\"step\",\"step\":1}\n");
  writer.append(step(2));
  writer.sync();
  EXPECT_EQ(read_jsonl(path_).size(), 2u);
}

TEST_F(JsonlWriterTest, ContinuesAFileAndCutsATornLine) {
  write("metrics.jsonl", "{\"step\":1}\n{\"step\":2");
  JsonlWriter(path_).append(step(3));
  EXPECT_EQ(read("metrics.jsonl"), "{\"step\":1}\n{\"kind\":\"step\",\"step\":3}\n");
}

TEST_F(JsonlWriterTest, ResumingForgetsLaterSteps) {
  JsonlWriter writer(path_);
  for (int i = 1; i <= 5; ++i) writer.append(step(i));
  writer.truncate_after(3);
  writer.append(step(4));
  const auto records = read_jsonl(path_);
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(number(records[2], "step"), 3);
  EXPECT_EQ(number(records[3], "step"), 4);
}

TEST_F(JsonlWriterTest, TruncatingAtTheEndChangesNothing) {
  JsonlWriter writer(path_);
  writer.append(step(1));
  writer.append({{"kind", "note"}, {"text", "no step"}});
  writer.truncate_after(1);
  EXPECT_EQ(read_jsonl(path_).size(), 2u);
}

TEST_F(JsonlWriterTest, NamesTheDamagedLine) {
  write("metrics.jsonl", "{\"step\":1}\nrubbish\n");
  try {
    read_jsonl(path_);
    FAIL() << "a damaged line was accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("line 2"));
    EXPECT_THAT(error.what(), testing::HasSubstr("metrics.jsonl"));
  }
}

TEST_F(JsonlWriterTest, NamesTheFileThatCannotBeOpened) {
  try {
    JsonlWriter writer(folder_ / "missing" / "metrics.jsonl");
    FAIL() << "a missing folder was accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("missing/metrics.jsonl"));
    EXPECT_THAT(error.what(), testing::HasSubstr("No such file"));
  }
}

TEST_F(JsonlWriterTest, AFullDiskIsAnError) {
  JsonlWriter writer(path_);
  writer.append(step(1));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{.rlim_cur = 40, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_THROW(for (int i = 0; i < 10; ++i) writer.append(step(i)), DataError);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  // Nothing of the record that failed is left: the next one begins a line of its own.
  const std::size_t whole = read_jsonl(path_).size();
  EXPECT_EQ(read("metrics.jsonl").back(), '\n');
  writer.append(step(99));
  EXPECT_EQ(read_jsonl(path_).size(), whole + 1);
}

TEST_F(JsonlWriterTest, AnEpochThatIsJudgedAgainLosesItsRecord) {
  for (const bool anew : {false, true}) {
    std::filesystem::remove(path_);
    JsonlWriter writer(path_);
    for (int i = 1; i <= 2; ++i) writer.append(step(i));
    writer.append({{"kind", "epoch"}, {"step", 2}});
    writer.truncate_after(2, anew);
    EXPECT_EQ(read_jsonl(path_).size(), anew ? 2u : 3u);
  }
}

TEST_F(JsonlWriterTest, LinesThatAreNoRecordsStay) {
  const std::string before = "{\"step\":1}\nrubbish\n[1]\n{\"step\":2}\n";
  write("metrics.jsonl", before + "{\"step\":3}\n");
  EXPECT_THAT(JsonlWriter(path_).truncate_after(2), testing::ElementsAre(2, 3));
  EXPECT_EQ(read("metrics.jsonl"), before);
  std::int64_t records = 0;
  const BadLines bad = visit_jsonl(path_, [&](const Record&) { ++records; });
  EXPECT_EQ(records, 2);
  EXPECT_EQ(bad.count, 2);
  EXPECT_EQ(bad.first, 2);
}

TEST_F(JsonlWriterTest, ATornLineOfAnyLengthIsCut) {
  for (const std::size_t torn : {std::size_t{1}, std::size_t{65536}, std::size_t{200'000}}) {
    write("metrics.jsonl", "{\"step\":1}\n" + std::string(torn, '\0'));
    const JsonlWriter writer(path_);
    EXPECT_EQ(read("metrics.jsonl"), "{\"step\":1}\n") << torn;
    write("metrics.jsonl", std::string(torn, 'x'));
    const JsonlWriter empty(path_);
    EXPECT_EQ(read("metrics.jsonl"), "") << torn;
  }
}

}  // namespace
}  // namespace bunchtrain::report
