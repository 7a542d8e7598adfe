// SPDX-License-Identifier: Apache-2.0
// onnx_check FILE...: the checker of libonnx on files, each by its path, so that weights in a second file are found. A
// process of its own: libonnx brings a protobuf. Its header brings protobuf's, so the one entry is declared here.

#include <unistd.h>

#include <exception>
#include <string>

namespace onnx::checker {
void check_model(const std::string& path);
}

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    try {
      onnx::checker::check_model(argv[i]);
    } catch (const std::exception& error) {
      const std::string text = std::string(argv[i]) + ": " + error.what() + "\n";
      static_cast<void>(write(STDERR_FILENO, text.data(), text.size()));
      return 1;
    }
  }
  return argc > 1 ? 0 : 2;
}
