// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/core/hash.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain {
namespace {

// XXH3-128 of the empty input, from the xxHash specification.
TEST(HashTest, KnownAnswerOfNothing) {
  EXPECT_EQ(hash_hex(std::string_view()), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash_hex("hello"), "b5e9c1ad071b3e7fc779cfaa5e523818") << "as `xxhsum -H2` 0.8.1 prints it";
}

TEST(HashTest, PiecesEqualTheWhole) {
  std::string text(3'000'000, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 % 251);
  Hasher hasher;
  const auto bytes = std::as_bytes(std::span(text));
  hasher.update(bytes.first(17));
  hasher.update(bytes.subspan(17, 1'000'000));
  hasher.update(bytes.subspan(1'000'017));
  EXPECT_EQ(hasher.hex(), hash_hex(text));

  const auto path = std::filesystem::path(testing::TempDir()) / "hash_test.bin";
  write_file_atomically(path, text);
  EXPECT_EQ(hash_file(path), hash_hex(text));
  std::filesystem::remove(path);
}

TEST(HashTest, OneBitChangesIt) { EXPECT_NE(hash_hex("jets"), hash_hex("jetr")); }

TEST(HashTest, MissingFileIsNamed) {
  try {
    hash_file("/no/such/file.h5");
    FAIL() << "no error";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("/no/such/file.h5"));
  }
}

}  // namespace
}  // namespace bunchtrain
