// SPDX-License-Identifier: Apache-2.0
// The kernels that make columns and batches of bytes of files, run on the host, give the bits of the CPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "bunchtrain/core/random.hpp"
#include "bunchtrain/ops/detail/column_launch.cuh"
#include "expressions/vector_math.hpp"
#include "runtime/guarded_buffer.hpp"
#include "storage/chunk_filters.hpp"
#include "storage/element_type.hpp"

namespace bunchtrain::test {
namespace {

using namespace ops::detail;
using host_cuda::GuardedBuffer;
using Bytes = std::vector<std::uint8_t>;
using Numbers = std::vector<std::int64_t>;

Bytes random_bytes(std::size_t count) {
  RandomSequence random(CounterRandom(3, count));
  Bytes bytes(count);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.below(256));
  return bytes;
}

/// As the filter stores them: what is left behind the elements stays where it is.
Bytes shuffled(const Bytes& bytes, std::size_t element_bytes) {
  Bytes planes = bytes;
  const std::size_t elements = bytes.size() / element_bytes;
  for (std::size_t e = 0; e < elements; ++e)
    for (std::size_t j = 0; j < element_bytes; ++j) planes[j * elements + e] = bytes[e * element_bytes + j];
  return planes;
}

TEST(ColumnKernelsTest, UnshuffleAsTheCpu) {
  for (const std::size_t element_bytes : {1, 2, 4, 8, 24})
    for (const std::size_t elements : {1, 17, 300}) {
      const Bytes planes = random_bytes(element_bytes * elements);
      Bytes expected(planes.size());
      data::unshuffle(std::as_bytes(std::span(planes)), element_bytes,
                      reinterpret_cast<std::byte*>(expected.data()));
      const GuardedBuffer<std::uint8_t> from(planes);
      GuardedBuffer<std::uint8_t> out(planes.size());
      const auto each = static_cast<std::int64_t>(element_bytes), count = static_cast<std::int64_t>(elements);
      const GuardedBuffer<ShuffledBlock> blocks(std::vector<ShuffledBlock>{
          {.from = 0, .to = 0, .element_bytes = each, .stride = count, .first = 0, .elements = count}});
      launch_unshuffle(
          {.bytes = from.data(), .blocks = blocks.data(), .count = 1, .most_bytes = each * count}, out.data(),
          nullptr);
      EXPECT_EQ(out.values(), expected) << element_bytes << " " << elements;
    }
}

/// Some elements of a chunk, stretches of planes that were read alone, and a chunk that is as it was written.
TEST(ColumnKernelsTest, BlocksOfSeveralChunksAreUnshuffledTogether) {
  const Bytes plain = random_bytes(1000);
  const Bytes planes = shuffled(Bytes(plain.begin(), plain.begin() + 500), 5);  // 100 elements
  Bytes bytes = planes;
  for (int plane = 0; plane < 5; ++plane)  // elements 90 to 97 again
    bytes.insert(bytes.end(), planes.begin() + plane * 100 + 90, planes.begin() + plane * 100 + 98);
  bytes.insert(bytes.end(), plain.begin() + 500, plain.end());
  const GuardedBuffer<ShuffledBlock> blocks(std::vector<ShuffledBlock>{
      {.from = 0, .to = 0, .element_bytes = 5, .stride = 100, .first = 20, .elements = 40},
      {.from = 500, .to = 200, .element_bytes = 5, .stride = 8, .first = 0, .elements = 8},
      {.from = 540, .to = 240, .element_bytes = 1, .stride = 500, .first = 300, .elements = 200}});
  Bytes expected(plain.begin() + 100, plain.begin() + 300);
  expected.insert(expected.end(), plain.begin() + 450, plain.begin() + 490);
  expected.insert(expected.end(), plain.begin() + 800, plain.end());
  const GuardedBuffer<std::uint8_t> from(bytes);
  GuardedBuffer<std::uint8_t> out(expected.size());
  launch_unshuffle({.bytes = from.data(), .blocks = blocks.data(), .count = 3, .most_bytes = 200}, out.data(),
                   nullptr);
  EXPECT_EQ(out.values(), expected);
}

struct Type {
  StoredKind kind;
  std::int64_t bytes;
};
constexpr Type kTypes[] = {
    {StoredKind::floating, 2},         {StoredKind::floating, 4},         {StoredKind::floating, 8},
    {StoredKind::signed_integer, 1},   {StoredKind::signed_integer, 2},   {StoredKind::signed_integer, 4},
    {StoredKind::signed_integer, 8},   {StoredKind::unsigned_integer, 1}, {StoredKind::unsigned_integer, 2},
    {StoredKind::unsigned_integer, 4}, {StoredKind::unsigned_integer, 8}};
constexpr std::int64_t kRows = 37, kRowBytes = 61;

data::ColumnLayout layout_of(const StoredColumn& column) {
  const auto size = [](std::int64_t value) { return static_cast<std::size_t>(value); };
  return {.type = {.kind = static_cast<data::ElementType::Kind>(column.kind),
                   .big_endian = column.big_endian,
                   .bytes = size(column.bytes)},
          .row_bytes = size(column.row_bytes),
          .offset = size(column.offset),
          .slot_bytes = size(column.slot_bytes),
          .slots = size(column.slots)};
}

template <class Out>
void expect_same_bits(const std::vector<Out>& found, const std::vector<Out>& expected,
                      const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i)
    if (!(std::isnan(found[i]) && std::isnan(expected[i]))) {
      ASSERT_EQ(std::memcmp(&found[i], &expected[i], sizeof(Out)), 0)
          << what << ", value " << i << ": " << found[i] << ", not " << expected[i];
    }
}

template <class Out>
void widen_every_type() {
  const Bytes bytes = random_bytes(kRows * kRowBytes + 3);  // the last ones belong to no element
  for (const auto& [kind, width] : kTypes)
    for (const bool big_endian : {false, true})
      for (const std::size_t element_bytes : {1, 4, 61}) {
        const StoredColumn column{.kind = kind,
                                  .big_endian = big_endian,
                                  .bytes = width,
                                  .row_bytes = kRowBytes,
                                  .offset = 5,
                                  .slot_bytes = 11,
                                  .slots = 4};
        std::vector<Out> expected(kRows * 4);
        data::widen(layout_of(column), reinterpret_cast<const std::byte*>(bytes.data()), kRows,
                    expected.data());
        const GuardedBuffer<std::uint8_t> from(shuffled(bytes, element_bytes));
        const StoredBytes stored{.bytes = from.data(),
                                 .element_bytes = static_cast<std::int64_t>(element_bytes),
                                 .elements = static_cast<std::int64_t>(bytes.size() / element_bytes)};
        GuardedBuffer<Out> out(expected.size());
        launch_widen(column, stored, nullptr, kRows, out.data(), nullptr);
        const std::string what = std::to_string(static_cast<int>(kind)) + " of " + std::to_string(width) +
                                 (big_endian ? " big-endian" : "") + ", elements of " +
                                 std::to_string(element_bytes);
        expect_same_bits(out.values(), expected, what);
        const GuardedBuffer<std::int64_t> rows(Numbers{30, 2, 2, 36});
        GuardedBuffer<Out> some(16);
        launch_widen(column, stored, rows.data(), 4, some.data(), nullptr);
        std::vector<Out> of_rows;
        for (const std::int64_t row : rows.values())
          of_rows.insert(of_rows.end(), expected.begin() + 4 * row, expected.begin() + 4 * row + 4);
        expect_same_bits(some.values(), of_rows, what + ", some rows");
      }
}

TEST(ColumnKernelsTest, EveryNumberTypeIsWidenedAsTheCpuDoesToFloat) { widen_every_type<float>(); }
TEST(ColumnKernelsTest, EveryNumberTypeIsWidenedAsTheCpuDoesToDouble) { widen_every_type<double>(); }

TEST(ColumnKernelsTest, EveryHalfHasItsValue) {
  Bytes bytes;
  for (int bits = 0; bits < 65536; ++bits)
    bytes.insert(bytes.end(), {static_cast<std::uint8_t>(bits), static_cast<std::uint8_t>(bits >> 8)});
  const StoredColumn column{.kind = StoredKind::floating, .bytes = 2, .row_bytes = 2, .slot_bytes = 2};
  std::vector<float> expected(65536);
  data::widen(layout_of(column), reinterpret_cast<const std::byte*>(bytes.data()), 65536, expected.data());
  const GuardedBuffer<std::uint8_t> from(bytes);
  GuardedBuffer<float> out(65536);
  launch_widen(column, {.bytes = from.data()}, nullptr, 65536, out.data(), nullptr);
  expect_same_bits(out.values(), expected, "halves");
}

Numbers random_counts(std::int64_t rows, std::int64_t below) {
  RandomSequence random(CounterRandom(9, static_cast<std::uint64_t>(rows)));
  Numbers counts;
  for (std::int64_t row = 0; row < rows; ++row)
    counts.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(below))));
  return counts;
}

Numbers splits_of(const Numbers& counts, std::int64_t most) {
  Numbers splits = {0};
  for (const std::int64_t count : counts) splits.push_back(splits.back() + std::min(count, most));
  return splits;
}

TEST(ColumnKernelsTest, RowSplitsOfAnyNumberOfRows) {
  for (const std::int64_t rows : {0, 1, 31, 33, 1023, 1024, 1025, 5000})
    for (const std::int64_t most : {7, 1000}) {
      const Numbers counts = random_counts(rows, 20);
      const GuardedBuffer<std::int64_t> from(counts);
      GuardedBuffer<std::int64_t> splits(counts.size() + 1);
      launch_row_splits(from.data(), rows, most, splits.data(), nullptr);
      EXPECT_EQ(splits.values(), splits_of(counts, most)) << rows << " rows";
    }
}

/// Entries of any row and slot, one value each, and whether one of them is not finite.
TEST(ColumnKernelsTest, EntriesAreWidenedOneByOne) {
  Bytes bytes = random_bytes(kRows * kRowBytes);
  const StoredColumn column{.kind = StoredKind::signed_integer,
                            .big_endian = true,
                            .bytes = 2,
                            .row_bytes = kRowBytes,
                            .offset = 5,
                            .slot_bytes = 11,
                            .slots = 4};
  std::vector<float> all(kRows * 4);
  data::widen(layout_of(column), reinterpret_cast<const std::byte*>(bytes.data()), kRows, all.data());
  const GuardedBuffer<std::int64_t> entries(Numbers{kRows * 4 - 1, 0, 5, 5, 77});
  GuardedBuffer<float> out(5);
  int not_finite = 0;
  launch_widen_entries(column, GuardedBuffer<std::uint8_t>(bytes).data(), entries.data(), 5, out.data(),
                       &not_finite, nullptr);
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_EQ(out.data()[i], all[static_cast<std::size_t>(entries.data()[i])]);
  EXPECT_EQ(not_finite, 0);
  const std::vector<float> odd = {1, 2, std::numeric_limits<float>::infinity(), 4, 5};
  const StoredColumn plain{.row_bytes = 4, .slot_bytes = 4};
  const GuardedBuffer<std::int64_t> some(Numbers{0, 1, 4, 3, 3}), with_odd(Numbers{0, 1, 2, 3, 3});
  const auto* stored = reinterpret_cast<const std::uint8_t*>(odd.data());
  launch_widen_entries(plain, stored, some.data(), 5, out.data(), &not_finite, nullptr);
  EXPECT_EQ(not_finite, 0) << "only what is asked for counts";
  launch_widen_entries(plain, stored, with_odd.data(), 5, out.data(), &not_finite, nullptr);
  EXPECT_EQ(not_finite, 1);
}

/// Rows of any length with marks anywhere, NaN among them; as many are picked as there is room for.
TEST(ColumnKernelsTest, WhatIsMarkedIsCountedAndPickedInOrder) {
  const Numbers lengths = {0, 1, 31, 32, 33, 200, 0, 64, 7}, splits = splits_of(lengths, 1000);
  const auto rows = std::ssize(lengths);
  Numbers begins;
  for (std::int64_t row = 0; row < rows; ++row) begins.push_back(1000 * (rows - row));
  std::vector<float> marks;
  for (std::int64_t i = 0; i < splits.back(); ++i)
    marks.push_back(i % 7 == 0   ? std::numeric_limits<float>::quiet_NaN()
                    : i % 3 == 0 ? 0.0F
                                 : (i % 2 == 0 ? -0.5F : 2.0F));
  for (const bool all : {false, true})
    for (const std::int64_t most : {5, 1000}) {
      Numbers counts, picked;
      for (std::size_t row = 0; row < lengths.size(); ++row) {
        Numbers of_row;
        for (std::int64_t i = 0; i < lengths[row]; ++i) {
          const float mark = marks[static_cast<std::size_t>(splits[row] + i)];
          if (all || mark < 0 || mark > 0) of_row.push_back(begins[row] + i);
        }
        counts.push_back(std::ssize(of_row));
        of_row.resize(static_cast<std::size_t>(std::min(counts.back(), most)));
        picked.insert(picked.end(), of_row.begin(), of_row.end());
      }
      const GuardedBuffer<std::int64_t> first(begins), ends(splits), room(splits_of(counts, most));
      const GuardedBuffer<float> marked(marks);
      const MarkedRows of{.begins = first.data(),
                          .splits = ends.data(),
                          .marks = all ? nullptr : marked.data(),
                          .rows = rows};
      GuardedBuffer<std::int64_t> found(counts.size()), places(picked.size());
      launch_count_marked(of, found.data(), nullptr);
      launch_pick(of, room.data(), places.data(), nullptr);
      EXPECT_EQ(found.values(), counts);
      EXPECT_EQ(places.values(), picked);
    }
}

TEST(ColumnKernelsTest, SumsHaveTheBitsOfTheCpu) {
  const Numbers lengths = {0, 1, 3, 4, 5, 130, 2}, splits = splits_of(lengths, 1000);
  constexpr std::int64_t kWidth = 3;
  RandomSequence random(CounterRandom(5, 5));
  std::vector<float> values;
  for (std::int64_t i = 0; i < splits.back() * kWidth; ++i)
    values.push_back(static_cast<float>(random.uniform() * 1e3 - 500));
  const GuardedBuffer<float> from(values);
  const GuardedBuffer<std::int64_t> ends(splits);
  GuardedBuffer<double> sums(lengths.size() * kWidth);
  launch_row_sums(from.data(), kWidth, ends.data(), std::ssize(lengths), sums.data(), nullptr);
  for (std::size_t row = 0; row < lengths.size(); ++row)
    for (std::int64_t column = 0; column < kWidth; ++column) {
      std::vector<float> of_row;
      for (std::int64_t i = splits[row]; i < splits[row + 1]; ++i)
        of_row.push_back(values[static_cast<std::size_t>(i * kWidth + column)]);
      EXPECT_EQ(sums.data()[static_cast<std::size_t>(column) * lengths.size() + row],
                features::detail::sum_vector(of_row.data(), of_row.size()));
    }
}

/// Rows lie anywhere in the bytes, in any order; elements of 12 bytes are copied by words, others by bytes.
TEST(ColumnKernelsTest, RowsAreGatheredRaggedAndPadded) {
  constexpr std::int64_t kMany = 70, kLength = 9;
  const Numbers counts = random_counts(kMany, kLength + 1), splits = splits_of(counts, kLength);
  Numbers begins;
  for (std::int64_t row = 0; row < kMany; ++row) begins.push_back((row * 37 % kMany) * 11);
  for (const std::int64_t width : {1, 12, 13}) {
    const Bytes stored = random_bytes(static_cast<std::size_t>((kMany * 11 + kLength) * width));
    Bytes ragged, padded;
    std::vector<bool> mask;
    for (std::size_t row = 0; row < counts.size(); ++row)
      for (std::int64_t slot = 0; slot < kLength; ++slot) {
        const bool real = slot < counts[row];
        mask.push_back(real);
        for (std::int64_t byte = 0; byte < width; ++byte) {
          const auto value = stored[static_cast<std::size_t>((begins[row] + slot) * width + byte)];
          padded.push_back(real ? value : 0);
          if (real) ragged.push_back(value);
        }
      }
    const GuardedBuffer<std::uint8_t> from(stored);
    std::vector<const std::uint8_t*> addresses;
    for (const std::int64_t begin : begins) addresses.push_back(from.data() + begin * width);
    const GuardedBuffer<std::int64_t> ends(splits);
    const ElementRows rows{
        .element_bytes = width, .begins = addresses.data(), .splits = ends.data(), .rows = kMany};
    GuardedBuffer<std::uint8_t> one_by_one(ragged.size()), in_slots(padded.size());
    GuardedBuffer<bool> real(mask.size());
    launch_gather_ragged(rows, splits.back(), one_by_one.data(), nullptr);
    launch_gather_padded(rows, kLength, in_slots.data(), real.data(), nullptr);
    EXPECT_EQ(one_by_one.values(), ragged) << width;
    EXPECT_EQ(in_slots.values(), padded) << width;
    for (std::size_t slot = 0; slot < mask.size(); ++slot) ASSERT_EQ(real.data()[slot], mask[slot]);
    GuardedBuffer<std::uint8_t> firsts(static_cast<std::size_t>(kMany * width)), again(padded.size());
    launch_gather_rows(rows, firsts.data(), nullptr);
    launch_gather_padded(rows, kLength, again.data(), nullptr, nullptr);
    EXPECT_EQ(again.values(), padded) << "a mask is not needed";
    for (std::size_t row = 0; row < kMany; ++row)
      EXPECT_EQ(std::memcmp(firsts.data() + row * static_cast<std::size_t>(width), addresses[row],
                            static_cast<std::size_t>(width)),
                0);
  }
}

}  // namespace
}  // namespace bunchtrain::test
