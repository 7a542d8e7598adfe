// SPDX-License-Identifier: Apache-2.0
// A rank killed in mid-step ends the job within seconds and leaves no process behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

namespace {

struct Result {
  int status;
  std::string output;
  std::chrono::duration<double> seconds;
};

/// Runs a shell command; `timeout` inside it is the watchdog.
Result run(const std::string& command) {
  const auto start = std::chrono::steady_clock::now();
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  Result result{};
  std::array<char, 4096> buffer{};
  while (const std::size_t count = fread(buffer.data(), 1, buffer.size(), pipe))
    result.output.append(buffer.data(), count);
  result.status = WEXITSTATUS(pclose(pipe));
  result.seconds = std::chrono::steady_clock::now() - start;
  return result;
}

int processes_with(const std::string& marker) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "environ");
    const std::string environment{std::istreambuf_iterator<char>(file), {}};
    if (environment.find(marker) != std::string::npos) ++count;
  }
  return count;
}

TEST(KilledTest, JobEndsWithinSecondsWithoutOrphans) {
  const std::string marker = "BUNCHTRAIN_KILLED_TEST=" + std::to_string(getpid());
  const auto result =
      run("env " + marker + " timeout --kill-after=5 " + std::to_string(45 * BUNCHTRAIN_PATIENCE) +
          " " BUNCHTRAIN_MPIRUN " -n 3 " BUNCHTRAIN_KILLED_RANK);
  EXPECT_THAT(result.output, testing::HasSubstr("steps done"));
  EXPECT_THAT(result.output, testing::Not(testing::HasSubstr("survived")));
  EXPECT_NE(result.status, 0);
  EXPECT_NE(result.status, 124) << "the watchdog had to end it";
  EXPECT_LT(result.seconds.count(), 20.0 * BUNCHTRAIN_PATIENCE);
  for (int wait = 0; wait < 30 && processes_with(marker) > 0; ++wait)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(processes_with(marker), 0);
}

}  // namespace
