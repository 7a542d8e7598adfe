// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/logger.hpp"

#include <cstdio>

namespace bunchtrain {

namespace {

/// One `fwrite` per record, so that lines of several threads or ranks do not mix.
class StderrSink : public LogSink {
 public:
  void write(LogLevel level, std::string_view text) override {
    std::string line = "bunchtrain: ";
    if (level > LogLevel::info) line.append(to_string(level)).append(": ");
    line.append(text).push_back('\n');
    std::fwrite(line.data(), 1, line.size(), stderr);
  }
};

}  // namespace

std::string_view to_string(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "unknown";
}

std::shared_ptr<LogSink> make_stderr_sink() { return std::make_shared<StderrSink>(); }

}  // namespace bunchtrain
