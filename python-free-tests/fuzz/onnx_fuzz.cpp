// SPDX-License-Identifier: Apache-2.0
// Entry point of libFuzzer for the ONNX reader and the evaluator: any bytes are either a graph, which is the same when it is
// written and read again, and runs or throws DataError, or throw DataError themselves.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "bunchtrain/core/error.hpp"
#include "onnx/evaluator.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bunchtrain::infer::onnx;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    // The bytes are the second file too: places in it are looked at.
    const Graph graph = decode(bytes, "fuzz", bytes);
    if (encode(decode(encode(graph), "again")) != encode(graph)) std::abort();
    evaluate(graph, {{"points", {.shape = {1, 4, 2}, .values = std::vector<double>(8, 1.0)}},
                     {"features", {.shape = {1, 4, 3}, .values = std::vector<double>(12, 1.0)}},
                     {"mask", {.shape = {1, 4}, .values = std::vector<double>(4, 1.0)}},
                     {"latent", {.shape = {1, 4}, .values = std::vector<double>(4, 1.0)}}});
  } catch (const bunchtrain::DataError&) {
    return 0;
  }
  return 0;
}
