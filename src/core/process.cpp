// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/process.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain {
namespace {

std::string first_word(const char* path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  std::string text(name.data());
  for (char& letter : text)
    if (std::isspace(static_cast<unsigned char>(letter)) != 0) letter = '-';
  return text;
}

/// What /proc says about a process.
struct Stat {
  char state = '?';
  std::uint64_t start_ticks = 0;
};

std::optional<Stat> stat_of(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  // The second field is the program's name in brackets, and may hold spaces and brackets itself.
  const auto bracket = text.rfind(')');
  if (bracket == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(bracket + 1));
  Stat stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> stat.start_ticks;
  if (!fields) return std::nullopt;
  return stat;
}

std::uint64_t pid_space() {
  struct stat status {};
  return ::stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

}  // namespace

std::string ProcessIdentity::to_line() const {
  std::ostringstream line;
  line << host << ' ' << machine << ' ' << pid_space << ' ' << pid << ' ' << start_ticks;
  return line.str();
}

ProcessIdentity ProcessIdentity::from_line(const std::string& line) {
  std::istringstream fields(line);
  ProcessIdentity process;
  fields >> process.host >> process.machine >> process.pid_space >> process.pid >> process.start_ticks;
  if (!fields) throw DataError("'" + line + "' names no process");
  return process;
}

ProcessIdentity this_process() {
  ProcessIdentity self{.host = host_name(), .machine = first_word("/proc/sys/kernel/random/boot_id")};
  if (self.machine.empty()) self.machine = self.host;
  self.pid_space = pid_space();
  self.pid = ::getpid();
  if (const auto stat = stat_of(self.pid)) self.start_ticks = stat->start_ticks;
  return self;
}

ProcessState state_of(const ProcessIdentity& process) {
  static const ProcessIdentity here = this_process();
  if (process.machine != here.machine || process.pid_space != here.pid_space) return ProcessState::unseen;
  const auto stat = stat_of(process.pid);
  if (!stat || stat->start_ticks != process.start_ticks) return ProcessState::gone;
  switch (stat->state) {
    case 'Z':
    case 'X':
      return ProcessState::gone;
    case 'T':
    case 't':
      return ProcessState::stopped;
    case 'D':
      return ProcessState::waits_for_disk;
    default:
      return ProcessState::lives;
  }
}

std::string describe(const ProcessIdentity& process, ProcessState state) {
  const std::string name = "process " + std::to_string(process.pid) + " on " + process.host;
  switch (state) {
    case ProcessState::gone:
      return name + " is gone";
    case ProcessState::stopped:
      return name + " is stopped";
    case ProcessState::waits_for_disk:
      return name + " waits for its disk";
    case ProcessState::lives:
      return name + " is alive";
    case ProcessState::unseen:
      break;
  }
  return name;
}

}  // namespace bunchtrain
