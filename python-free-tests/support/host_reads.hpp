// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Operations for which the host of a GPU would have to wait, counted on the CPU.

#include <ATen/record_function.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bunchtrain::test {

/// While it lives: the operations of this thread that take a number off a tensor, or whose result has a size
/// that depends on values.
class HostReads {
 public:
  HostReads() : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(&on_operation))) {
    found().clear();
  }
  ~HostReads() { at::removeCallback(handle_); }
  HostReads(const HostReads&) = delete;
  HostReads& operator=(const HostReads&) = delete;

  /// Their names, in order.
  const std::vector<std::string>& names() const { return found(); }

 private:
  static std::vector<std::string>& found() {
    thread_local std::vector<std::string> names;
    return names;
  }
  static std::unique_ptr<at::ObserverContext> on_operation(const at::RecordFunction& operation) {
    constexpr std::array<std::string_view, 6> kReads = {"aten::item",          "aten::_local_scalar_dense",
                                                        "aten::is_nonzero",    "aten::nonzero",
                                                        "aten::masked_select", "aten::equal"};
    const std::string_view name = operation.name();
    if (std::ranges::find(kReads, name) != kReads.end()) found().emplace_back(name);
    return nullptr;
  }

  at::CallbackHandle handle_;
};

}  // namespace bunchtrain::test
