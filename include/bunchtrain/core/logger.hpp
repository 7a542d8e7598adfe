// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Logging through a sink that the application chooses; without a sink nothing is written.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace bunchtrain {

enum class LogLevel { debug, info, warning, error };

/// "debug", "info", "warning" or "error".
std::string_view to_string(LogLevel level) noexcept;

/// Where log records go. An implementation must be safe to call from several threads at once.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(LogLevel level, std::string_view text) = 0;
};

/// A sink that writes "bunchtrain: text" lines to standard error ("bunchtrain: warning: text" above info).
std::shared_ptr<LogSink> make_stderr_sink();

/// A cheap, copyable handle to a sink with a level. The default one is silent. Thread-safe.
class Logger {
 public:
  Logger() = default;
  explicit Logger(std::shared_ptr<LogSink> sink, LogLevel level = LogLevel::info)
      : sink_(std::move(sink)), level_(level) {}

  bool enabled(LogLevel level) const noexcept { return sink_ && level >= level_; }
  void log(LogLevel level, std::string_view text) const {
    if (enabled(level)) sink_->write(level, text);
  }
  void debug(std::string_view text) const { log(LogLevel::debug, text); }
  void info(std::string_view text) const { log(LogLevel::info, text); }
  void warning(std::string_view text) const { log(LogLevel::warning, text); }
  void error(std::string_view text) const { log(LogLevel::error, text); }

 private:
  std::shared_ptr<LogSink> sink_;
  LogLevel level_ = LogLevel::info;
};

}  // namespace bunchtrain
