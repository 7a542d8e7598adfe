// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Microsoft's ONNX Runtime, if a machine has it: opened by name, its C interface called without its header.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "graph.hpp"

namespace bunchtrain::infer::onnx {

/// A dense input. Not owned.
struct RuntimeInput {
  const char* name;
  Type type;
  const void* data;
  std::vector<std::int64_t> shape;
};

/// A float32 output and where its values go. Not owned.
struct RuntimeOutput {
  const char* name;
  std::span<float> values;
};

/// A graph in ONNX Runtime. `run` may be called by any number of threads at once.
class Runtime {
 public:
  /// @param library libonnxruntime.so, which stays loaded until the program ends
  /// @param model the bytes of an ONNX file
  /// @param threads within a call
  /// @throws ConfigError for a library that cannot be used; DataError with what ONNX Runtime says of the model.
  Runtime(const std::filesystem::path& library, std::string_view model, int threads = 1);
  /// A file, with a second one beside it if it has one.
  static Runtime open(const std::filesystem::path& library, const std::filesystem::path& file,
                      int threads = 1);
  Runtime(Runtime&&) noexcept;
  Runtime& operator=(Runtime&&) noexcept;
  ~Runtime();

  /// "1.32.0"
  std::string_view version() const noexcept;
  /// @throws DataError with what ONNX Runtime says.
  void run(std::span<const RuntimeInput> inputs, std::span<const RuntimeOutput> outputs) const;

 private:
  struct Impl;
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bunchtrain::infer::onnx
