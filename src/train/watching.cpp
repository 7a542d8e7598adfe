// SPDX-License-Identifier: Apache-2.0
#include "watching.hpp"

#include <fmt/format.h>

#include <exception>

namespace bunchtrain::train {

bool Watching::try_to(const std::string& doing, const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) {
    warn(doing, error.what());
    return false;
  } catch (...) {
    warn(doing, "unknown error");
    return false;
  }
  if (failing_.erase(doing) > 0) logger_.info(fmt::format("could {} again", doing));
  return true;
}

void Watching::warn(const std::string& doing, std::string_view fault) {
  if (failing_.insert(doing).second)
    logger_.warning(fmt::format("could not {}: {}; the training goes on and tries again", doing, fault));
}

}  // namespace bunchtrain::train
