// SPDX-License-Identifier: Apache-2.0
#pragma once
/// An error that one rank may see alone, on its way to all ranks.

#include <functional>
#include <string>
#include <vector>

namespace bunchtrain::mpi {

/// Class and text of an error.
struct AgreedError {
  enum class Kind : char {
    none = '0',
    other = 'x',
    config = 'c',
    data = 'd',
    io = 'i',
    checkpoint = 'k',
    device = 'v'
  };

  Kind kind = Kind::none;
  int code = 0;  ///< errno of an IoError
  std::string text;

  bool empty() const noexcept { return kind == Kind::none; }
  std::string to_bytes() const;
  static AgreedError from_bytes(const std::string& bytes);
};

/// Runs `action` and catches what it throws; a CommError passes: nobody could be told.
AgreedError catch_error(const std::function<void()>& action);

/// Throws the class of the lowest rank that failed, with the texts of all of them.
[[noreturn]] void throw_agreed(const std::vector<AgreedError>& errors);

/// The texts that are not empty, equal ones once, with the ranks that say them.
std::string merge_errors(const std::vector<std::string>& texts);

}  // namespace bunchtrain::mpi
