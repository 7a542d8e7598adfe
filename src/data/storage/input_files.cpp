// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/input_files.hpp"

#include "file_list.hpp"

namespace bunchtrain::data {

std::vector<std::filesystem::path> input_files(std::span<const std::string> arguments) {
  return list_files(arguments);
}

}  // namespace bunchtrain::data
