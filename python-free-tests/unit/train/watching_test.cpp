// SPDX-License-Identifier: Apache-2.0
// What only watches a training never ends it, and loses nothing that can be kept.

#include "watching.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <mutex>

#include "bunchtrain/core/error.hpp"
#include "metrics_log.hpp"
#include "run_leftovers.hpp"
#include "trainer_fixture.hpp"

namespace bunchtrain::train {
namespace {

namespace fs = std::filesystem;
using test::make_points;
using test::ToyTraining;
using testing::HasSubstr;

class MemorySink : public LogSink {
 public:
  void write(LogLevel level, std::string_view text) override {
    const std::lock_guard lock(mutex_);
    if (level >= LogLevel::warning) warnings.emplace_back(text);
  }
  std::vector<std::string> warnings;

 private:
  std::mutex mutex_;
};

class WatchingTest : public test::TrainerFixture {
 protected:
  void SetUp() override {
    TrainerFixture::SetUp();
    fs::create_directories(root_);
  }
  void write(const fs::path& path, const std::string& text) const { std::ofstream(root_ / path) << text; }
  static report::Record step(std::int64_t number) { return {{"kind", "step"}, {"step", number}}; }

  std::shared_ptr<MemorySink> sink_ = std::make_shared<MemorySink>();
};

TEST_F(WatchingTest, AFailureCostsOneWarningUntilItSucceedsAgain) {
  Watching watching{Logger(sink_)};
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(watching.try_to("write x", [] { throw IoError("full", ENOSPC); }));
  EXPECT_EQ(sink_->warnings.size(), 1U);
  EXPECT_TRUE(watching.try_to("write x", [] {}));
  EXPECT_FALSE(watching.try_to("write x", [] { throw 1; }));
  EXPECT_EQ(sink_->warnings.size(), 2U);
}

TEST_F(WatchingTest, RecordsWaitForTheFile) {
  MetricsLog log(root_ / "later" / "metrics.jsonl", {}, Logger(sink_));
  EXPECT_THROW(log.append(step(1)), DataError);
  EXPECT_THROW(log.append(step(2)), DataError);
  EXPECT_THROW(log.sync(), DataError);
  fs::create_directories(root_ / "later");
  log.append(step(3));
  log.sync();
  expect_steps("later", 3);
}

TEST_F(WatchingTest, AFreshStartMovesOldRecordsAside) {
  write("metrics.jsonl", "{\"kind\":\"step\",\"step\":1}\n");
  write("metrics.jsonl.before-1", "of an earlier time");
  MetricsLog log(root_ / "metrics.jsonl", {}, Logger(sink_));
  log.append(step(1));
  EXPECT_EQ(read("metrics.jsonl.before-1"), "of an earlier time");
  EXPECT_EQ(read("metrics.jsonl.before-2"), "{\"kind\":\"step\",\"step\":1}\n");
  ASSERT_EQ(sink_->warnings.size(), 1U);
  EXPECT_THAT(sink_->warnings[0], HasSubstr("metrics.jsonl.before-2"));
}

TEST_F(WatchingTest, ABadLineStaysAndIsNamed) {
  write("metrics.jsonl",
        "{\"kind\":\"step\",\"step\":1}\nrubbish\n{\"kind\":\"step\",\"step\":2}\n{\"kind\":\"step\","
        "\"step\":3}\n");
  MetricsLog log(root_ / "metrics.jsonl", {.step = 2}, Logger(sink_));
  log.append(step(3));
  EXPECT_EQ(read("metrics.jsonl"),
            "{\"kind\":\"step\",\"step\":1}\nrubbish\n{\"kind\":\"step\",\"step\":2}\n{\"kind\":\"step\","
            "\"step\":3}\n");
  EXPECT_THAT(sink_->warnings.at(0), HasSubstr("line 2"));
}

TEST_F(WatchingTest, LeftoversOfTheOwnerGoAndOthersStay) {
  fs::create_directories(root_ / "run");
  const std::string old = "report.html.partial-" + std::to_string(::getpid());
  const std::string of_nobody = "report.html.partial-999999999";  // beyond the largest number of a process
  const std::string being_written = "report.html.partial-1";
  for (const std::string& name :
       {std::string("run.json"), std::string("run.json.partial-11"), std::string("curves.json.partial-12"),
        std::string("sections.json.partial-14"), std::string(".writable.partial-13"), old, of_nobody,
        being_written, std::string("scores.h5.partial-16")})
    write(fs::path("run") / name, "x");
  fs::last_write_time(root_ / "run" / old, fs::file_time_type::clock::now() - std::chrono::hours(2));
  remove_leftovers(RunFolder::existing(root_ / "run"));
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(root_ / "run")) left.push_back(entry.path().filename());
  EXPECT_THAT(left, testing::UnorderedElementsAre("run.json", being_written, "scores.h5.partial-16"));
}

/// Things in the way of every file that a run writes for people.
TEST_F(WatchingTest, NothingThatWatchesEndsARun) {
  const auto own = [](const char* name) { return name + (".partial-" + std::to_string(::getpid())); };
  const fs::path run = root_ / "run";
  fs::create_directories(run / "metrics.jsonl");
  for (const char* name : {"sections.json", "report.html", "run.json"})
    fs::create_directories(run / own(name));
  write("run/events", "a file in the place of the folder");
  Session session =
      app::open_session(ToyTraining::parse(run, {"--resume"}), mpi::Comm::self(), Logger(sink_));
  test::Network network;
  parallel::DataParallel parallel(network, session.world());
  optim::AdamW optimizer(parallel, {});
  Trainer trainer(session, parallel, optimizer, classification(), {.epochs = 3, .batch = 32});
  EXPECT_EQ(trainer.fit(make_points(96), make_points(40, 2)).steps, 9);
  for (const char* what : {"metrics.jsonl", "events", "run.json", "sections.json", "report.html"})
    EXPECT_THAT(sink_->warnings, testing::Contains(HasSubstr(what)).Times(1)) << what;
  EXPECT_TRUE(fs::exists(snapshot("run", 9)));
}

TEST_F(WatchingTest, RecordsThatCouldNotBeWrittenForAWhileAreAllThere) {
  ToyTraining training = make("run", {"--resume"});
  const fs::path metrics = root_ / "run" / "metrics.jsonl";
  fs::create_directories(metrics);  // a folder in its place, until step 10
  training.trainer.add_callback(std::make_shared<test::AfterStep>([&](const StepEvent& event) {
    if (event.step == 10) fs::remove(metrics);
  }));
  training.trainer.fit(make_points(200), make_points(40, 2));
  expect_steps("run", 21);
  EXPECT_EQ(records("run", "epoch").size(), 3U);
}

}  // namespace
}  // namespace bunchtrain::train
