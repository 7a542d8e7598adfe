// SPDX-License-Identifier: Apache-2.0
#include "call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <thread>

namespace bunchtrain::comm::detail {
namespace {

std::string_view to_string(ReduceOp op) noexcept {
  switch (op) {
    case ReduceOp::sum:
      return "sum";
    case ReduceOp::min:
      return "min";
    case ReduceOp::max:
      return "max";
  }
  return "?";
}

/// LibTorch prints "Float" and "Long"; people write float32 and int64.
std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return "float64";
    case at::kFloat:
      return "float32";
    case at::kHalf:
      return "float16";
    case at::kChar:
      return "int8";
    case at::kInt:
      return "int32";
    case at::kLong:
      return "int64";
    case at::kByte:
      return "uint8";
    default:
      break;
  }
  std::string name = c10::toString(dtype);
  std::ranges::transform(name, name.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return name;
}

std::string arguments(const Call& call) {
  switch (call.operation) {
    case Operation::all_reduce:
    case Operation::reduce_scatter:
      return fmt::format("({})", to_string(call.op));
    case Operation::broadcast:
      return fmt::format("(root {})", call.root);
    case Operation::send:
      return fmt::format("(to {}, tag {})", call.root, call.tag);
    case Operation::receive:
      return fmt::format("(from {}, tag {})", call.root, call.tag);
    case Operation::captured_step:
      return fmt::format("(graph {})", call.tag);
    default:
      return {};
  }
}

}  // namespace

std::string_view to_string(Operation operation) noexcept {
  switch (operation) {
    case Operation::none:
      return "no operation yet";
    case Operation::all_reduce:
      return "all_reduce";
    case Operation::reduce_scatter:
      return "reduce_scatter";
    case Operation::all_gather:
      return "all_gather";
    case Operation::broadcast:
      return "broadcast";
    case Operation::all_to_all:
      return "all_to_all";
    case Operation::send:
      return "send";
    case Operation::receive:
      return "receive";
    case Operation::barrier:
      return "barrier";
    case Operation::split:
      return "split";
    case Operation::close:
      return "close";
    case Operation::captured_step:
      return "captured step";
    case Operation::reading:
      return "waiting for its data";
  }
  return "?";
}

void rest(std::chrono::steady_clock::duration waited) {
  if (waited < std::chrono::seconds(1)) return std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::microseconds(200));
}

std::string describe(const Call& call) {
  std::string text(to_string(call.operation));
  text += arguments(call);
  if (call.dtype != at::ScalarType::Undefined) {
    text +=
        fmt::format(" of {} {}{}", call.numel, dtype_name(call.dtype), call.layout == 0 ? "" : " (strided)");
  }
  if (call.operation != Operation::none && !call.is_point_to_point())
    text += fmt::format(" (#{})", call.sequence);
  return text;
}

}  // namespace bunchtrain::comm::detail
