// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "bunchtrain/core/detail/system_fault.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain {

namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

std::string to_hex(const XXH128_hash_t& hash) {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text.data();
}

struct FileCloser {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

[[noreturn]] void throw_unreadable(const std::filesystem::path& path) {
  const int code = errno;
  throw_system_fault<DataError>("cannot read " + path.string() + ": " + std::strerror(code), code);
}

}  // namespace

struct Hasher::Impl {
  XXH3_state_t state;
};

// The state wants 64-byte alignment, which `new` grants from C++17 on.
Hasher::Hasher() : impl_(std::make_unique<Impl>()) { XXH3_128bits_reset(&impl_->state); }
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(&impl_->state, bytes.data(), bytes.size());
}

std::string Hasher::hex() const { return to_hex(XXH3_128bits_digest(&impl_->state)); }

std::string hash_hex(std::span<const std::byte> bytes) {
  return to_hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash_hex(std::string_view text) { return hash_hex(std::as_bytes(std::span(text))); }

std::string hash_file(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw_unreadable(path);
  Hasher hasher;
  std::vector<std::byte> piece(kPieceBytes);
  while (const std::size_t read = std::fread(piece.data(), 1, piece.size(), file.get())) {
    hasher.update(std::span(piece).first(read));
  }
  if (std::ferror(file.get()) != 0) throw_unreadable(path);
  return hasher.hex();
}

}  // namespace bunchtrain
