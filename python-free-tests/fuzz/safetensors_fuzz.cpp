// SPDX-License-Identifier: Apache-2.0
// Entry point of libFuzzer for the safetensors reader: any bytes either parse or throw CheckpointError.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto content = bunchtrain::weights::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
    std::size_t bytes = 0;
    for (const auto& entry : content.tensors) bytes += entry.tensor.nbytes();
    // A reader that invents data would be exploitable.
    if (bytes > size) __builtin_trap();
  } catch (const bunchtrain::CheckpointError&) {
    return 0;
  }
  return 0;
}
