// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The exceptions of bunchtrain: what failed, where in the user's terms, how to mend it, with context added
/// on the way up.

#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain {

/// Base of every exception thrown by bunchtrain. Catch it only to add context or at the edge of a program.
///
/// `what()` is the message followed by one indented line per context, innermost first.
/// Copyable and movable; not thread-safe while context is added.
class Error : public std::exception {
 public:
  explicit Error(std::string message, std::source_location where = std::source_location::current());

  /// Adds one line of context ("while restoring step 12000 of runs/top") and returns this error, for
  /// rethrowing with `throw;`.
  Error& add_context(std::string_view line);

  const char* what() const noexcept override { return text_.c_str(); }
  /// The message alone, without context.
  const std::string& message() const noexcept { return message_; }
  const std::vector<std::string>& context() const noexcept { return context_; }
  /// Where in bunchtrain's sources the error was raised.
  const std::source_location& where() const noexcept { return where_; }

 private:
  std::string message_;
  std::vector<std::string> context_;
  std::string text_;
  std::source_location where_;
};

/// An option, card or argument is wrong. Built from the field, the value given, and what is
/// allowed or how to mend it.
class ConfigError : public Error {
 public:
  ConfigError(std::string_view field, std::string_view value, std::string_view allowed,
              std::source_location where = std::source_location::current());
  explicit ConfigError(std::string message, std::source_location where = std::source_location::current())
      : Error(std::move(message), where) {}
};

/// A data file cannot be used: the message names the file, the dataset and, where it applies, the rows.
class DataError : public Error {
 public:
  using Error::Error;
};

/// The system refused to read or write, for a reason that may pass: a full disk or quota, a stale handle, an
/// I/O error. Not for files that are missing or damaged: those are the other classes' matter.
class IoError : public Error {
 public:
  IoError(std::string message, int code, std::source_location where = std::source_location::current())
      : Error(std::move(message), where), code_(code) {}
  /// The system's errno.
  int code() const noexcept { return code_; }

 private:
  int code_;
};

/// A device (GPU, driver, memory) cannot do what was asked.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A collective failed or timed out: the message names operation, communicator and rank.
class CommError : public Error {
 public:
  using Error::Error;
};

/// A checkpoint or a weight file is damaged, foreign or incomplete.
class CheckpointError : public Error {
 public:
  using Error::Error;
};

/// The operation needs a part that this build was configured without; names the CMake option that brings it.
class NotBuiltError : public Error {
 public:
  NotBuiltError(std::string_view what, std::string_view cmake_option,
                std::source_location where = std::source_location::current());
};

/// Throws `ConfigError(message)` unless `condition` holds: for arguments that the
/// caller got wrong; always on.
inline void expects(bool condition, std::string_view message,
                    std::source_location where = std::source_location::current()) {
  if (!condition) throw ConfigError(std::string(message), where);
}

}  // namespace bunchtrain
