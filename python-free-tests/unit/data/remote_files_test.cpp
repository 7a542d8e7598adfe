// SPDX-License-Identifier: Apache-2.0
// Files of root:// are copied once, whole or not at all, by whatever is called xrdcp.
#include "bunchtrain/data/remote_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/input_files.hpp"
#include "hdf5_samples.hpp"
#include "support/message_of.hpp"
#include "support/process.hpp"

namespace bunchtrain::data {
namespace {

using test::message_of;
using test::read_file;
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kFakeXrdcp = R"sh(#!/bin/sh
for word; do from=$to; to=$word; done
echo "$from" >> "$FAKE_CALLS"
from=/${from#root://*//}
case $FAKE_XRDCP in
  fails) echo "[FATAL] Auth failed" >&2; exit 52;;
  truncated) head -c 3000 "$from" > "$to";;
  killed) head -c 3000 "$from" > "$to"; kill -9 $$;;
  slow) { head -c 3000 "$from"; sleep 1; tail -c +3001 "$from"; } > "$to";;
  *) cp "$from" "$to";;
esac
)sh";

class RemoteFilesTest : public Hdf5FilesTest {
 protected:
  void SetUp() override {
    Hdf5FilesTest::SetUp();
    fs::create_directories(folder_ / "bin");
    std::ofstream(path("bin/xrdcp")) << kFakeXrdcp;
    fs::permissions(path("bin/xrdcp"),
                    fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
    old_path_ = std::getenv("PATH");
    setenv("PATH", (path("bin") + ":" + old_path_).c_str(), 1);
    setenv("FAKE_CALLS", path("calls").c_str(), 1);
    const hid_t file = create_file(path("jets.h5"));
    write_floats(file, "jets", {1000, 4}, std::vector<float>(4000, 7.5F));
    H5Fclose(file);
    keep_remote_files_in(folder_ / "disk", {});
  }
  void TearDown() override {
    keep_remote_files_in({}, {});
    setenv("PATH", old_path_.c_str(), 1);
    unsetenv("FAKE_XRDCP");
    unsetenv("FAKE_CALLS");
    Hdf5FilesTest::TearDown();
  }

  std::string url() const { return "root://eos.example//" + path("jets.h5").substr(1); }
  fs::path fetch() const { return input_files(std::vector{url()}).front(); }
  std::string failure(const char* how) const {
    setenv("FAKE_XRDCP", how, 1);
    return message_of([this] { fetch(); });
  }
  std::size_t calls() const {
    const std::string text = read_file(path("calls"));
    return static_cast<std::size_t>(std::ranges::count(text, '\n'));
  }
  void expect_whole(const fs::path& copy) const {
    EXPECT_TRUE(read_file(copy) == read_file(path("jets.h5"))) << copy;
    EXPECT_EQ(copy.parent_path(), folder_ / "disk" / "bunchtrain-remote");
  }
  /// Copies, whole or not, and what is known of them.
  std::vector<std::string> left() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "disk" / "bunchtrain-remote"))
      if (entry.path().extension() != ".lock") names.push_back(entry.path().filename().string());
    return names;
  }
  /// A process that fetches the file. @return exit code 0 if it got all of it
  pid_t fetch_in_process() const {
    const pid_t child = fork();
    if (child == 0) {
      try {
        _exit(read_file(fetch()) == read_file(path("jets.h5")) ? 0 : 2);
      } catch (const std::exception&) {
        _exit(3);
      }
    }
    return child;
  }

 private:
  std::string old_path_;
};

TEST_F(RemoteFilesTest, CopiesOnceAndTakesWhatIsWholeTheNextTime) {
  const fs::path copy = fetch();
  expect_whole(copy);
  EXPECT_EQ(fetch(), copy);
  EXPECT_EQ(calls(), 1U);
  fs::last_write_time(copy, fs::last_write_time(copy) - std::chrono::hours(1));
  expect_whole(fetch());
  EXPECT_EQ(calls(), 1U) << "a file with another time has the checksum still";
  std::fstream(copy, std::ios::in | std::ios::out | std::ios::binary).seekp(4000).put('x');
  expect_whole(fetch());
  EXPECT_EQ(calls(), 2U) << "an altered copy was taken";
  fs::resize_file(copy, 3000);
  expect_whole(fetch());
  EXPECT_EQ(calls(), 3U) << "half a copy was taken";
  fs::remove(copy.string() + ".record");
  expect_whole(fetch());
  EXPECT_EQ(calls(), 4U) << "a copy of which nothing is known was taken";
}

TEST_F(RemoteFilesTest, OneProcessOfANodeCopiesForAll) {
  setenv("FAKE_XRDCP", "slow", 1);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) children.push_back(fetch_in_process());
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(calls(), 1U);
}

TEST_F(RemoteFilesTest, WhatFailsLeavesNothingAndSaysWhy) {
  EXPECT_THAT(failure("fails"), AllOf(HasSubstr("xrdcp failed (exit code 52)"),
                                      HasSubstr("[FATAL] Auth failed"), HasSubstr(url())));
  EXPECT_THAT(failure("truncated"), AllOf(HasSubstr("no whole HDF5 file"), HasSubstr(url())));
  EXPECT_THAT(failure("killed"), HasSubstr("signal 9"));
  EXPECT_THAT(left(), testing::IsEmpty());
  setenv("FAKE_XRDCP", "well", 1);
  expect_whole(fetch());
}

TEST_F(RemoteFilesTest, AKilledJobIsNoneThatTheNextOneWaitsFor) {
  setenv("FAKE_XRDCP", "slow", 1);
  const pid_t child = fetch_in_process();
  while (calls() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  setenv("FAKE_XRDCP", "well", 1);
  const fs::path copy = fetch();
  expect_whole(copy);
  EXPECT_THAT(left(),
              testing::UnorderedElementsAre(copy.filename().string(), copy.filename().string() + ".record"));
}

TEST_F(RemoteFilesTest, SaysWhatStandsInItsWay) {
  const fs::path copy = fetch();
  for (const char* end : {"", ".record", ".lock"}) fs::remove(copy.string() + end);
  std::ofstream(path("xrdcp")) << "no program";
  setenv("PATH", folder_.c_str(), 1);
  EXPECT_THAT(message_of([this] { fetch(); }), HasSubstr("xrdcp cannot be started: "));
  fs::remove(copy.string() + ".lock");
  fs::create_directories(copy.string() + ".lock");
  EXPECT_THAT(message_of([this] { fetch(); }), HasSubstr("can be written to"));
}

TEST_F(RemoteFilesTest, SaysWhatToDo) {
  EXPECT_THAT(message_of([this] { input_files(std::vector{url() + "*"}); }),
              HasSubstr("patterns are not looked up"));
  EXPECT_THAT(message_of([] { input_files(std::vector<std::string>{"root://host//data/manifest.json"}); }),
              HasSubstr("the shards themselves"));
  setenv("PATH", path("nowhere").c_str(), 1);
  EXPECT_THAT(message_of([this] { fetch(); }), AllOf(HasSubstr("xrdcp"), HasSubstr("not in PATH")));
  keep_remote_files_in(folder_ / "jets.h5" / "disk", {});
  EXPECT_THAT(message_of([this] { fetch(); }), AllOf(HasSubstr("stage"), HasSubstr("can be made")));
  keep_remote_files_in({}, {});
  EXPECT_THAT(message_of([this] { fetch(); }),
              AllOf(HasSubstr("stage = FOLDER"), HasSubstr("xrdcp " + url())));
}

}  // namespace
}  // namespace bunchtrain::data
