// SPDX-License-Identifier: Apache-2.0
#include "validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"

namespace bunchtrain::comm::detail {
namespace {

constexpr std::array kDtypes = {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kChar,
                                at::kInt,    at::kLong,  at::kByte, at::kBool};

[[noreturn]] void refuse(const Call& call, std::string_view argument, const std::string& why) {
  throw ConfigError(fmt::format("{}: {} {}", to_string(call.operation), argument, why));
}

void check_tensor(const Call& call, const at::Tensor& tensor, std::string_view argument, const Group& group) {
  if (!tensor.defined()) refuse(call, argument, "is undefined");
  if (tensor.layout() != at::kStrided) refuse(call, argument, "is sparse; convert it with to_dense()");
  if (!tensor.is_non_overlapping_and_dense()) {
    refuse(call, argument, "is not dense in memory (a slice or an expanded view); pass tensor.contiguous()");
  }
  if (std::ranges::find(kDtypes, tensor.scalar_type()) == kDtypes.end()) {
    refuse(
        call, argument,
        fmt::format(
            "has dtype {}; allowed are float64, float32, float16, bfloat16, int8, int32, int64, uint8, bool",
            c10::toString(tensor.scalar_type())));
  }
  const bool anywhere = group.backend == Backend::self;
  const bool staged = group.backend == Backend::mpi && tensor.device().is_cpu();
  if (!anywhere && !staged && tensor.device() != group.device) {
    refuse(call, argument,
           fmt::format("is on {}, the communicator on {}", tensor.device().str(), group.device.str()));
  }
}

void check_sizes(const Call& call, const Buffers& buffers, int size) {
  const std::int64_t out = buffers.output.numel();
  const std::int64_t in = buffers.input.numel();
  if (buffers.output.scalar_type() != buffers.input.scalar_type()) {
    refuse(call, "input", "and output have different dtypes");
  }
  if (buffers.output.device() != buffers.input.device())
    refuse(call, "input", "and output are on different devices");
  const auto expect = [&](bool fits, const char* rule) {
    if (!fits) {
      refuse(call, "sizes do not fit:",
             fmt::format("input has {} elements, output {}, the world {} ranks; {}", in, out, size, rule));
    }
  };
  if (call.operation == Operation::reduce_scatter)
    expect(in == out * size, "input must have ranks x output elements");
  if (call.operation == Operation::all_gather)
    expect(out == in * size, "output must have ranks x input elements");
  if (call.operation == Operation::all_to_all) {
    expect(in == out && in % size == 0, "both must have the same number of elements, divisible by the ranks");
  }
}

/// Byte ranges may be disjoint, or one may be exactly this rank's block of the other (all_gather and
/// reduce_scatter in place, which the backends know); anything else would read what another step writes.
void check_overlap(const Call& call, const Buffers& buffers, const Group& group) {
  const auto* out = static_cast<const std::byte*>(buffers.output.const_data_ptr());
  const auto* in = static_cast<const std::byte*>(buffers.input.const_data_ptr());
  const auto out_bytes = static_cast<std::ptrdiff_t>(buffers.output.nbytes());
  const auto in_bytes = static_cast<std::ptrdiff_t>(buffers.input.nbytes());
  if (out_bytes == 0 || in_bytes == 0 || out + out_bytes <= in || in + in_bytes <= out) return;
  const bool gather = call.operation == Operation::all_gather;
  const bool in_place = (gather && in - out == group.rank * in_bytes) ||
                        (call.operation == Operation::reduce_scatter && out - in == group.rank * out_bytes) ||
                        (group.size == 1 && in == out);
  if (!in_place) {
    refuse(call, "input and output",
           "overlap in memory; only all_gather and reduce_scatter may, with the smaller one being this "
           "rank's block of the "
           "larger");
  }
}

void check_root(const Call& call, int size) {
  if (call.root < 0 || call.root >= size) {
    const char* argument = call.operation == Operation::broadcast ? "root" : "peer";
    refuse(call, argument, fmt::format("is {}, which is no rank of a world of {}", call.root, size));
  }
  if (call.tag < 0 || call.tag > kMaxTag)
    refuse(call, "tag", fmt::format("is {}; allowed are 0 to {}", call.tag, kMaxTag));
}

}  // namespace

void validate(const Call& call, const Buffers& buffers, const Group& group) {
  const bool has_output = call.operation != Operation::send;
  const bool has_input = call.operation != Operation::receive;
  if (has_input) check_tensor(call, buffers.input, has_output ? "input" : "tensor", group);
  if (has_output) check_tensor(call, buffers.output, has_input ? "output" : "tensor", group);
  switch (call.operation) {
    case Operation::reduce_scatter:
    case Operation::all_gather:
    case Operation::all_to_all:
      check_sizes(call, buffers, group.size);
      check_overlap(call, buffers, group);
      break;
    case Operation::broadcast:
    case Operation::send:
    case Operation::receive:
      check_root(call, group.size);
      break;
    default:
      break;
  }
}

std::int64_t layout_hash(const at::Tensor& tensor) {
  if (tensor.is_contiguous()) return 0;
  std::uint64_t hash = 1;
  for (const auto stride : tensor.strides()) hash = mix64(hash, static_cast<std::uint64_t>(stride));
  for (const auto size : tensor.sizes()) hash = mix64(hash, static_cast<std::uint64_t>(size));
  return static_cast<std::int64_t>(hash >> 1) | 1;
}

}  // namespace bunchtrain::comm::detail
