// SPDX-License-Identifier: Apache-2.0
#pragma once
/// What an error says.

#include <string>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::test {

/// The message of the Expected that `action` throws, "no error" if it throws none.
template <class Expected = Error, class Action>
std::string message_of(Action&& action) {
  try {
    std::forward<Action>(action)();
  } catch (const Expected& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace bunchtrain::test
