// SPDX-License-Identifier: Apache-2.0
// zstd, lz4 and blosc chunks, made here as the registered filters store them, give the values; damage is named.
#include <blosc.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "bunchtrain/core/error.hpp"
#include "hdf5_samples.hpp"
#include "io/engine.hpp"
#include "storage/codecs/codec.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;
using Encode = std::function<Bytes(const Bytes&)>;

Bytes zstd(const Bytes& plain) {
  Bytes stored(ZSTD_compressBound(plain.size()));
  stored.resize(ZSTD_compress(stored.data(), stored.size(), plain.data(), plain.size(), 3));
  return stored;
}

void append(Bytes& out, std::uint64_t number, int bytes) {
  while (bytes-- > 0) out.push_back(static_cast<std::byte>(number >> 8 * bytes & 0xFF));
}

/// Blocks of `block` bytes; every other one is stored as it is, as the filter does with what does not shrink.
Bytes lz4(const Bytes& plain, std::size_t block) {
  Bytes out;
  append(out, plain.size(), 8);
  append(out, block, 4);
  for (std::size_t at = 0; at < plain.size(); at += block) {
    const std::size_t bytes = std::min(block, plain.size() - at);
    std::vector<char> packed(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(bytes))));
    const int written = LZ4_compress_default(reinterpret_cast<const char*>(plain.data() + at), packed.data(),
                                             static_cast<int>(bytes), static_cast<int>(packed.size()));
    const bool raw = at / block % 2 == 1 || static_cast<std::size_t>(written) >= bytes;
    append(out, raw ? bytes : static_cast<std::size_t>(written), 4);
    const auto* from = raw ? plain.data() + at : reinterpret_cast<const std::byte*>(packed.data());
    out.insert(out.end(), from, from + (raw ? bytes : static_cast<std::size_t>(written)));
  }
  return out;
}

Bytes blosc(const Bytes& plain) {
  Bytes stored(plain.size() + BLOSC_MAX_OVERHEAD);
  const int written =
      blosc_compress_ctx(5, 1, 4, plain.size(), plain.data(), stored.data(), stored.size(), "blosclz", 0, 1);
  stored.resize(static_cast<std::size_t>(std::max(written, 0)));
  return stored;
}

struct Case {
  std::string name;
  int filter;
  Encode encode;
  bool shuffled = false;
};

std::vector<Case> cases() {
  return {{"zstd", 32015, zstd},
          {"zstd after shuffle", 32015, zstd, true},
          {"lz4, one block", 32004, [](const Bytes& plain) { return lz4(plain, plain.size()); }},
          {"lz4, blocks of 100 bytes", 32004, [](const Bytes& plain) { return lz4(plain, 100); }},
          {"lz4, a block larger than all", 32004, [](const Bytes& plain) { return lz4(plain, 1 << 30); }},
          {"blosc", 32001, blosc}};
}

constexpr std::size_t kRows = 50, kWidth = 20, kChunkRows = 16;

std::vector<std::int32_t> values() {
  std::vector<std::int32_t> numbers(kRows * kWidth);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::int32_t>(i * i % 97);
  return numbers;
}

/// A chunk in full, its last rows 0 where the dataset ends before.
Bytes chunk_of(std::size_t first_row, bool shuffled) {
  const auto numbers = values();
  std::vector<std::int32_t> rows(kChunkRows * kWidth);
  const std::size_t count = std::min(kChunkRows, kRows - first_row) * kWidth;
  std::copy_n(numbers.begin() + static_cast<std::ptrdiff_t>(first_row * kWidth), count, rows.begin());
  Bytes plain(rows.size() * 4);
  std::memcpy(plain.data(), rows.data(), plain.size());
  if (!shuffled) return plain;
  Bytes planes(plain.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t j = 0; j < 4; ++j) planes[j * rows.size() + i] = plain[i * 4 + j];
  return planes;
}

class CodecsTest : public Hdf5FilesTest {
 protected:
  /// The dataset "x" with its chunks as `encode` makes them.
  std::string write(const Case& test, const Encode& encode) const {
    const std::string name = path("codec.h5");
    // HDF5 wants to know a filter of which it is told; it is never called.
    const auto never = [](unsigned, std::size_t, const unsigned*, std::size_t, std::size_t*, void**) {
      return std::size_t{0};
    };
    const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, test.filter, 1, 1, "codec", nullptr, nullptr, never};
    EXPECT_GE(H5Zregister(&filter), 0);
    const hid_t file = create_file(name);
    write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, {kRows, kWidth}, nullptr,
                  {"", {kChunkRows, kWidth}, [&](hid_t create) {
                     if (test.shuffled) H5Pset_shuffle(create);
                     H5Pset_filter(create, test.filter, H5Z_FLAG_MANDATORY, 0, nullptr);
                   }});
    const hid_t dataset = H5Dopen2(file, "x", H5P_DEFAULT);
    for (hsize_t row = 0; row < kRows; row += kChunkRows) {
      const Bytes stored = encode(chunk_of(row, test.shuffled));
      const hsize_t at[] = {row, 0};
      EXPECT_GE(H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, at, stored.size(), stored.data()), 0);
    }
    H5Dclose(dataset);
    H5Fclose(file);
    EXPECT_GE(H5Zunregister(test.filter), 0);
    return name;
  }

  static StoredDataset open(const std::string& file, const io::Engine* engine = nullptr) {
    return StoredDataset(std::make_shared<const hdf5::File>(hdf5::open_read_only(file)),
                         std::make_shared<const FileBytes>(file, engine), "x");
  }
};

TEST_F(CodecsTest, GiveTheValuesWithoutHdf5) {
  for (const Case& test : cases()) {
    SCOPED_TRACE(test.name);
    const auto dataset = open(write(test, test.encode));
    EXPECT_EQ(dataset.path_text(), "pread + own " + test.name.substr(0, test.name.find_first_of(", ")));
    std::vector<std::int32_t> read(kRows * kWidth);
    dataset.read(0, kRows, [&](std::size_t first, std::size_t rows, const std::byte* bytes) {
      std::memcpy(read.data() + first * kWidth, bytes, rows * kWidth * 4);
    });
    EXPECT_EQ(read, values());
  }
}

TEST_F(CodecsTest, WhereHdf5IsAskedForWithoutItsPlugInOursIsTheWayOut) {
  const Case test{"zstd", 32015, zstd};
  try {
    open(write(test, test.encode), &io::hdf5_engine());
    FAIL() << "no exception";
  } catch (const DataError& error) {
    EXPECT_THAT(error.message(), AllOf(HasSubstr("zstd (32015)"), HasSubstr("io = hdf5 asks for it"),
                                       HasSubstr("io = auto reads it without HDF5")));
  }
}

TEST_F(CodecsTest, DamagedChunksAreNamed) {
  const auto truncated = [](Bytes stored) {
    stored.resize(stored.size() / 2);
    return stored;
  };
  const auto huge = [](Bytes stored) {  // counts of everything there is
    std::fill_n(stored.begin(), std::min<std::size_t>(stored.size(), 16), std::byte{0xFF});
    return stored;
  };
  const auto tiny = [](Bytes) { return Bytes(3, std::byte{1}); };
  for (const Case& test : cases())
    for (const std::function<Bytes(Bytes)>& damage :
         {std::function<Bytes(Bytes)>(truncated), {huge}, {tiny}}) {
      SCOPED_TRACE(test.name);
      const std::string file = write(test, [&](const Bytes& plain) { return damage(test.encode(plain)); });
      try {
        open(file);
        FAIL() << "no exception";
      } catch (const DataError& error) {
        EXPECT_THAT(error.message(), AllOf(HasSubstr("codec.h5, dataset 'x', rows 16 to 31"),
                                           HasSubstr("damaged"), HasSubstr("fetch the file again")));
      }
    }
}

TEST_F(CodecsTest, AnyFlippedByteEndsInRowsOrInAMessage) {
  for (const Case& test : cases()) {
    const Bytes good = test.encode(chunk_of(0, test.shuffled));
    Bytes out(kChunkRows * kWidth * 4);
    for (std::size_t at = 0; at < good.size(); ++at) {
      Bytes bad = good;
      bad[at] ^= std::byte{0x91};
      const auto written = find_codec(test.filter)->decompress(bad, out);
      EXPECT_LE(written.value_or(0), out.size()) << test.name << ", byte " << at;
    }
  }
}

TEST_F(CodecsTest, WhatTheyWriteTheyRead) {
  Bytes plain(3 << 20);
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::byte>(i / 7 * i % 251);
  for (const Codec* codec : {&zstd_codec(), &lz4_codec()}) {
    Bytes back(plain.size());
    const Bytes stored = codec->compress(plain);
    EXPECT_EQ(codec->decompress(stored, back), plain.size()) << codec->name;
    EXPECT_TRUE(back == plain) << codec->name;
  }
}

}  // namespace
}  // namespace bunchtrain::data
