// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Processes by name and machine: who they are, and whether one of them still lives.

#include <cstdint>
#include <string>

namespace bunchtrain {

/// A process that can be told from every other, also from a later one with the same number.
struct ProcessIdentity {
  std::string host;             ///< for people
  std::string machine;          ///< the running kernel: equal for all processes of a node, containers or not
  std::uint64_t pid_space = 0;  ///< numbers of processes mean the same where this and `machine` are equal
  std::int64_t pid = 0;         ///< as seen in its own pid space
  std::uint64_t start_ticks = 0;  ///< since the kernel's start

  bool operator==(const ProcessIdentity&) const = default;
  /// One line without spaces inside the fields, for files and messages between ranks.
  std::string to_line() const;
  /// @throws DataError if it is none.
  static ProcessIdentity from_line(const std::string& line);
};

ProcessIdentity this_process();

/// `unseen`: it belongs to another machine or pid space, nothing can be said from here.
enum class ProcessState { unseen, gone, stopped, waits_for_disk, lives };

/// Looks into /proc. A zombie, and another process with the same number, count as gone.
ProcessState state_of(const ProcessIdentity& process);

/// "process 4711 on node7 is stopped".
std::string describe(const ProcessIdentity& process, ProcessState state);

}  // namespace bunchtrain
