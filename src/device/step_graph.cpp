// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/device/step_graph.hpp"

#include <c10/util/Exception.h>

namespace bunchtrain::device {

std::string why_not_captured(const std::exception& error) {
  const auto* of_libtorch = dynamic_cast<const c10::Error*>(&error);
  return of_libtorch ? of_libtorch->what_without_backtrace() : error.what();
}

}  // namespace bunchtrain::device
