// SPDX-License-Identifier: Apache-2.0
#pragma once
/// The files beside copies that say what is known of them.

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "bunchtrain/core/atomic_file.hpp"

namespace bunchtrain::data {

/// An object; nothing if there is no such file, or another one of its name.
inline std::optional<nlohmann::json> read_record_text(const std::filesystem::path& file) {
  constexpr std::uintmax_t kMostBytes = 1 << 16;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  if (error || bytes > kMostBytes) return std::nullopt;
  std::ifstream opened(file);
  auto text = nlohmann::json::parse(opened, nullptr, /*allow_exceptions=*/false);
  if (!text.is_object()) return std::nullopt;
  return text;
}

/// Names of files need not be UTF-8. @throws IoError
inline void write_record_text(const std::filesystem::path& file, const nlohmann::json& text) {
  write_file_atomically(file, text.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace bunchtrain::data
