// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Runs programs as a user does: by a shell, with a time limit, output kept.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

namespace bunchtrain::test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// A program in a process group of its own, with standard output and error in one file.
class Process {
 public:
  Process(const std::string& command, std::filesystem::path output) : output_(std::move(output)) {
    pid_ = fork();
    if (pid_ != 0) return;
    setpgid(0, 0);
    const int file = ::open(output_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    dup2(file, 1);
    dup2(file, 2);
    execl("/bin/bash", "bash", "-c", ("exec " + command).c_str(), nullptr);
    _exit(127);
  }
  ~Process() {
    if (!ended_) kill(-pid_, SIGKILL), waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const { kill(pid_, number); }
  std::string output() const { return read_file(output_); }

  /// Exit code, 128 + n for a signal; fails the test and kills the group after `limit`.
  int wait(std::chrono::seconds limit = std::chrono::seconds(120)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "still running after " << limit.count() << " s:\n" << output();
        kill(-pid_, SIGKILL);
        waitpid(pid_, &status, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ended_ = true;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  /// Waits until the condition holds, the program ends or `limit` is over; says whether it holds.
  template <class Condition>
  bool wait_until(Condition condition, std::chrono::seconds limit = std::chrono::seconds(60)) const {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end || kill(pid_, 0) != 0) return condition();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
  }

 private:
  std::filesystem::path output_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

/// What a finished command left.
struct Finished {
  int exit_code;
  std::string output;
};

inline Finished run(const std::string& command, std::chrono::seconds limit = std::chrono::seconds(120)) {
  const auto file = std::filesystem::temp_directory_path() / ("bunchtrain_run_" + std::to_string(getpid()));
  Process process(command, file);
  const int code = process.wait(limit);
  std::string output = process.output();
  std::filesystem::remove(file);
  return {code, std::move(output)};
}

}  // namespace bunchtrain::test
