// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The error messages in the sources: where they are raised, and what of their text is fixed.

#include <filesystem>
#include <string>
#include <vector>

namespace bunchtrain::messages {

/// One place that raises an error: `throw DataError(...)`, or a call of a helper that throws, `refuse(...)`.
struct Site {
  std::string file;  ///< from the top of the sources
  int first_line = 0;
  int last_line = 0;
  std::string raised_by;                           ///< DataError, refuse ...
  std::vector<std::vector<std::string>> literals;  ///< each cut where fmt puts a value in

  /// The texts with ... for values, for a reader.
  std::string pattern() const;
  /// True if `text`, raised at `where_file`:`where_line`, can come from here.
  bool raises(const std::string& text, const std::string& where_file, int where_line) const;
  /// True if what a user gives, and not a caller's mistake, a device or a peer, raises it.
  bool is_users() const;
};

/// All sites in the .cpp, .cu and .hpp files below `src`, `models`, `tools` and `include`.
std::vector<Site> list_sites(const std::filesystem::path& source);

}  // namespace bunchtrain::messages
