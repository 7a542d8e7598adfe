// SPDX-License-Identifier: Apache-2.0
// Reading in halves: what is planned is what the layout says, and decoding takes the planned bytes from wherever
// they come, but never those of other rows.
#include "bunchtrain/data/read_plan.hpp"

#include <algorithm>
#include <array>
#include <deque>

#include "absent_rows_fixture.hpp"
#include "io/engine.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

using Bytes = std::vector<std::byte>;

void raw(hid_t) {}
void shuffle_deflate(hid_t create) {
  H5Pset_shuffle(create);
  H5Pset_deflate(create, 4);
}
void scale_offset(hid_t create) { H5Pset_scaleoffset(create, H5Z_SO_INT, 0); }
void minus_seven(hid_t create) {
  const std::int32_t fill = -7;
  H5Pset_fill_value(create, H5T_NATIVE_INT32, &fill);
}

constexpr std::uint64_t kRowBytes = kRow * sizeof(std::int32_t);

/// Offset and size of a piece, or of a chunk as HDF5 knows it.
struct Place {
  std::uint64_t offset = 0, bytes = 0;
  bool operator==(const Place&) const = default;
  friend void PrintTo(const Place& place, std::ostream* out) {
    *out << place.bytes << " bytes from " << place.offset;
  }
};

std::vector<Place> places(const ReadPlan& plan) {
  std::vector<Place> places;
  for (const Piece& piece : plan.pieces) places.push_back({piece.offset, piece.bytes});
  return places;
}

ReadPlan plan_rows(const StoredDataset& dataset, std::size_t first, std::size_t count) {
  ReadPlan plan;
  dataset.plan(first, count, plan);
  return plan;
}

Bytes decode(const StoredDataset& dataset, std::size_t first, std::size_t count, PlannedBytes bytes) {
  const std::size_t row_bytes = dataset.layout().row_bytes();
  Bytes rows(count * row_bytes, std::byte{0xEE});
  dataset.decode(first, count, bytes, [&](std::size_t at, std::size_t some, const std::byte* values) {
    std::copy_n(values, some * row_bytes, rows.begin() + static_cast<std::ptrdiff_t>(at * row_bytes));
  });
  bytes.require_end();
  return rows;
}

/// The last piece is there first.
Bytes fetch_backwards(const ReadPlan& plan) {
  Bytes bytes(plan.bytes());
  std::size_t end = bytes.size();
  for (auto piece = plan.pieces.rbegin(); piece != plan.pieces.rend(); ++piece) {
    end -= piece->bytes;
    piece->source->read(piece->offset, std::span(bytes).subspan(end, piece->bytes));
  }
  return bytes;
}

Bytes read_by_library(const StoredDataset& dataset, std::size_t first, std::size_t count) {
  Bytes rows;
  dataset.read_by_library(first, count, [&](std::size_t, std::size_t some, const std::byte* values) {
    rows.assign(values, values + some * dataset.layout().row_bytes());
  });
  return rows;
}

Bytes fetch_and_decode(const StoredDataset& dataset, std::size_t first, std::size_t count) {
  const ReadPlan plan = plan_rows(dataset, first, count);
  const Bytes bytes = fetch_backwards(plan);
  return decode(dataset, first, count, {plan, bytes});
}

class ReadPlanTest : public AbsentRowsTest {
 protected:
  /// 60 rows of 5 integers; none written if `written` is false.
  std::string write(const StorageChoice& storage, bool written = true) const {
    std::vector<std::int32_t> values(60 * kRow);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(i * i % 1009);
    const std::string name = path(storage.name + ".h5");
    const hid_t file = create_file(name, {.userblock = 512});
    write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, kShape, written ? values.data() : nullptr,
                  storage);
    H5Fclose(file);
    return name;
  }

  /// What HDF5 itself says.
  static Place chunk_at(const std::string& name, hsize_t row, hsize_t column = 0) {
    const auto file = hdf5::open_read_only(name);
    const hdf5::Dataset dataset(H5Dopen2(file.get(), "x", H5P_DEFAULT));
    const hsize_t at[] = {row, column};
    unsigned mask = 0;
    haddr_t address = 0;
    hsize_t bytes = 0;
    EXPECT_GE(H5Dget_chunk_info_by_coord(dataset.get(), at, &mask, &address, &bytes), 0);
    return {512 + address, bytes};
  }

  std::string write_virtual() const {
    const std::string a = write({"a", {}, raw}), b = write({"b", {16, 5}, shuffle_deflate});
    const hid_t file = create_file(path("virtual.h5"), {.latest_format = true});
    const std::vector<hsize_t> shape = {130, kRow};
    write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, shape, nullptr, {"", {}, [&](hid_t create) {
                                                                                 minus_seven(create);
                                                                                 map(create, a, 0);
                                                                                 map(create, b, 65);
                                                                               }});
    H5Fclose(file);
    return path("virtual.h5");
  }

 private:
  static void map(hid_t create, const std::string& source, hsize_t first) {
    const hsize_t shape[] = {130, kRow}, start[] = {first, 0}, extent[] = {60, kRow};
    const hid_t target = H5Screate_simple(2, shape, nullptr), space = H5Screate_simple(2, extent, nullptr);
    H5Sselect_hyperslab(target, H5S_SELECT_SET, start, nullptr, extent, nullptr);
    EXPECT_GE(H5Pset_virtual(create, target, source.c_str(), "x", space), 0);
    H5Sclose(target);
    H5Sclose(space);
  }
};

TEST_F(ReadPlanTest, OfContiguousRowsIsOnePiece) {
  const std::string name = write({"contiguous", {}, raw});
  const auto dataset = open(name);
  haddr_t offset = 0;
  {
    const auto file = hdf5::open_read_only(name);
    const hdf5::Dataset opened(H5Dopen2(file.get(), "x", H5P_DEFAULT));
    offset = H5Dget_offset(opened.get());
  }
  const ReadPlan plan = plan_rows(dataset, 7, 20);
  EXPECT_THAT(places(plan), ElementsAre(Place{offset + 7 * kRowBytes, 20 * kRowBytes}));
  EXPECT_EQ(plan.pieces.front().source->path(), name);
  EXPECT_TRUE(plan.pieces.front().source->is_file());
  EXPECT_EQ(plan.bytes(), 20 * kRowBytes);
  EXPECT_TRUE(plan_rows(dataset, 7, 0).pieces.empty());
}

TEST_F(ReadPlanTest, OfRawChunksIsTheirRows) {
  const std::string name = write({"raw", {16, 5}, raw});
  EXPECT_THAT(places(plan_rows(open(name), 10, 30)),
              ElementsAre(Place{chunk_at(name, 0).offset + 10 * kRowBytes, 6 * kRowBytes},
                          Place{chunk_at(name, 16).offset, 16 * kRowBytes},
                          Place{chunk_at(name, 32).offset, 8 * kRowBytes}));
}

TEST_F(ReadPlanTest, OfFilteredChunksIsAllThatIsStored) {
  const std::string whole = write({"filtered", {16, 5}, shuffle_deflate});
  EXPECT_THAT(places(plan_rows(open(whole), 16, 44)),
              ElementsAre(chunk_at(whole, 16), chunk_at(whole, 32), chunk_at(whole, 48)));
  const std::string divided = write({"divided", {32, 3}, raw});
  EXPECT_THAT(places(plan_rows(open(divided), 0, 32)),
              ElementsAre(chunk_at(divided, 0), chunk_at(divided, 0, 3)));
}

// A chunk larger than what is asked for is fetched and decoded once.
/// What a kernel makes of the bytes that a plan brings.
Bytes put_together(const ShuffledBlocks& blocks, const Bytes& bytes) {
  Bytes rows;
  for (const ops::detail::ShuffledBlock& block : blocks) {
    EXPECT_EQ(block.to, std::ssize(rows)) << "one behind another";
    for (std::int64_t element = 0; element < block.elements; ++element)
      for (std::int64_t j = 0; j < block.element_bytes; ++j)
        rows.push_back(
            bytes.at(static_cast<std::size_t>(block.from + j * block.stride + block.first + element)));
  }
  return rows;
}

/// Of a part of a chunk stretches of planes, where they are long; a chunk may have been written as it is.
TEST_F(ReadPlanTest, OfShuffledRowsIsAsTheyAreStored) {
  constexpr std::size_t kRows = 20000, kInChunk = 8000;
  std::vector<std::int32_t> values(kRows);
  for (std::size_t i = 0; i < kRows; ++i) values[i] = static_cast<std::int32_t>(i * 7919 % 1000003);
  const hid_t file = create_file(path("shuffled.h5"));
  write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, {kRows}, nullptr,
                {"", {kInChunk}, [](hid_t create) { H5Pset_shuffle(create); }});
  // The chunk that is not shuffled first: HDF5 1.10 keeps the mask of a chunk that is written again.
  const hid_t written = H5Dopen2(file, "x", H5P_DEFAULT), space = H5Dget_space(written);
  const hsize_t begin = 0, second = kInChunk, third = 2 * kInChunk, rest = kRows - third, all = kRows;
  EXPECT_GE(H5Dwrite_chunk(written, H5P_DEFAULT, 1, &second, kInChunk * 4, values.data() + kInChunk), 0);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, &begin, nullptr, &second, nullptr);
  H5Sselect_hyperslab(space, H5S_SELECT_OR, &third, nullptr, &rest, nullptr);
  const hid_t memory = H5Screate_simple(1, &all, nullptr);
  H5Sselect_copy(memory, space);
  EXPECT_GE(H5Dwrite(written, H5T_NATIVE_INT32, memory, space, H5P_DEFAULT, values.data()), 0);
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(written);
  H5Fclose(file);
  const auto dataset = open(path("shuffled.h5"));
  ASSERT_EQ(dataset.why_not_plain(), "");
  struct Case {
    std::size_t first, count;
    std::uint64_t bytes;
  };
  for (const auto& [first, count, read] : {Case{0, kRows, 4 * (2 * kInChunk + kInChunk)},  // the last in full
                                           Case{3000, 4096, 4 * 4096},                     // stretches
                                           Case{3000, 4095, 4 * kInChunk},                 // too short for it
                                           Case{7999, 9001, 4 * kInChunk * 3}, Case{8000, 5000, 4 * 5000}}) {
    ReadPlan plan;
    ShuffledBlocks blocks;
    dataset.plan_as_stored(first, count, plan, blocks);
    EXPECT_EQ(plan.bytes(), read) << first << " " << count;
    Bytes bytes(plan.bytes());
    io::fetch(plan, bytes);
    const auto* rows = reinterpret_cast<const std::byte*>(values.data() + first);
    EXPECT_EQ(put_together(blocks, bytes), Bytes(rows, rows + 4 * count)) << first << " " << count;
  }
  ReadPlan none;
  ShuffledBlocks blocks;
  dataset.plan_as_stored(5, 0, none, blocks);
  EXPECT_TRUE(none.pieces.empty() && blocks.empty());
}

TEST_F(ReadPlanTest, OnlyTheShuffleFilterAloneLeavesRowsPlain) {
  EXPECT_EQ(open(write({"shuffled", {16, 3}, [](hid_t create) { H5Pset_shuffle(create); }})).why_not_plain(),
            "pread + own inflate")
      << "chunks divide rows";
  EXPECT_EQ(open(write({"both", {16, kRow}, shuffle_deflate})).why_not_plain(), "pread + own inflate");
  EXPECT_EQ(open(write({"raw", {16, kRow}, raw})).why_not_plain(), "");
}

TEST_F(ReadPlanTest, OfAChunkThatWasDecodedIsNothing) {
  for (const StorageChoice& storage :
       {StorageChoice{"large", {32, 5}, shuffle_deflate}, {"split", {32, 3}, raw}}) {
    SCOPED_TRACE(storage.name);
    const auto dataset = open(write(storage));
    const std::size_t chunks = storage.name == "split" ? 2 : 1;
    // Opening has compared row 30 with HDF5, and so keeps the first block.
    const ReadPlan early = plan_rows(dataset, 34, 3);
    ASSERT_EQ(early.pieces.size(), chunks);
    EXPECT_EQ(early.pieces.front().decoded, nullptr);
    EXPECT_EQ(fetch_and_decode(dataset, 36, 8), read_by_library(dataset, 36, 8));

    const ReadPlan plan = plan_rows(dataset, 50, 4);
    ASSERT_EQ(plan.pieces.size(), 1U);
    EXPECT_NE(plan.pieces.front().decoded, nullptr);
    EXPECT_EQ(plan.bytes(), 0U);
    EXPECT_EQ(decode(dataset, 50, 4, {plan, {}}), read_by_library(dataset, 50, 4));
    const Bytes bytes = fetch_backwards(early);
    EXPECT_EQ(decode(dataset, 34, 3, {early, bytes}), read_by_library(dataset, 34, 3)) << "planned before";
  }
}

TEST_F(ReadPlanTest, OfRowsNeverWrittenIsNothing) {
  const auto nothing = open(write({"nothing", {}, minus_seven}, false));
  const auto no_chunk = open(write({"no chunk", {16, 5}, minus_seven}, false));
  for (const StoredDataset* dataset : {&nothing, &no_chunk}) {
    EXPECT_TRUE(plan_rows(*dataset, 3, 50).pieces.empty()) << dataset->path_text();
    EXPECT_EQ(fetch_and_decode(*dataset, 3, 50), read_by_library(*dataset, 3, 50));
  }
  const std::string name = write_partly("some.h5", {"", {16, 5}, shuffle_deflate}, 20, 10);
  const auto some = open(name);
  ASSERT_EQ(plan_rows(some, 0, 60).pieces.size(), 1U);
  EXPECT_EQ(fetch_and_decode(some, 0, 60), read_by_library(some, 0, 60));
}

TEST_F(ReadPlanTest, OfAVirtualDatasetIsThatOfItsSources) {
  const auto dataset = open(write_virtual());
  const ReadPlan plan = plan_rows(dataset, 50, 40);  // ten rows of a, five of none, 25 of b: two chunks
  ASSERT_EQ(plan.pieces.size(), 3U);
  EXPECT_EQ(plan.pieces[0].source->path(), path("a.h5"));
  EXPECT_EQ(plan.pieces[0].bytes, 10 * kRowBytes);
  EXPECT_EQ(plan.pieces[1].source->path(), path("b.h5"));
  EXPECT_EQ((Place{plan.pieces[1].offset, plan.pieces[1].bytes}), chunk_at(path("b.h5"), 0));
  EXPECT_EQ(plan.pieces[2].offset, chunk_at(path("b.h5"), 16).offset);
  EXPECT_NE(plan.pieces[2].decoded, nullptr) << "opening has compared row 30 with HDF5";
  EXPECT_TRUE(plan_rows(dataset, 60, 5).pieces.empty());
  EXPECT_EQ(fetch_and_decode(dataset, 50, 40), read_by_library(dataset, 50, 40));
}

TEST_F(ReadPlanTest, OfWhatOnlyHdf5ReadsIsRowsThatItGives) {
  const std::string name = write({"scaled", {16, 5}, scale_offset});
  const auto dataset = open(name);
  const ReadPlan plan = plan_rows(dataset, 7, 20);
  EXPECT_THAT(places(plan), ElementsAre(Place{7 * kRowBytes, 20 * kRowBytes}));
  EXPECT_FALSE(plan.pieces.front().source->is_file());
  EXPECT_EQ(plan.pieces.front().source->path(), name);
  EXPECT_EQ(io::hdf5_engine().why_not(*plan.pieces.front().source), "");
  EXPECT_THAT(io::pread_engine().why_not(*plan.pieces.front().source), HasSubstr("only the HDF5 library"));
}

TEST_F(ReadPlanTest, DecodingIsTheSameAsH5Dread) {
  const std::vector<std::string> files = {
      write({"contiguous", {}, raw}),
      write({"raw", {16, 5}, raw}),
      write({"filtered", {16, 5}, shuffle_deflate}),
      write({"divided", {16, 2}, shuffle_deflate}),
      write({"large", {60, 5}, shuffle_deflate}),
      write({"scaled", {16, 5}, scale_offset}),
      write_partly("partly.h5", {"", {16, 2}, shuffle_deflate}, 20, 10, {}, 3),
      write_virtual()};
  for (const std::string& file : files) {
    SCOPED_TRACE(file);
    const auto dataset = open(file);
    for (const auto& [first, count] : std::vector<std::pair<std::size_t, std::size_t>>{
             {0, 60}, {0, 1}, {59, 1}, {10, 30}, {16, 16}, {30, 3}})
      EXPECT_TRUE(fetch_and_decode(dataset, first, count) == read_by_library(dataset, first, count))
          << count << " rows from " << first;
  }
}

/// Remembers what it was asked for.
class WatchingEngine final : public io::Engine {
 public:
  IoEngine kind() const noexcept override { return IoEngine::pread; }
  std::string_view name() const noexcept override { return "watching"; }
  int score(const io::Request&) const override { return 1; }
  std::string why_not(const ByteSource& source) const override { return source.is_file() ? "" : "no file"; }
  void read(std::span<const Piece> pieces, std::span<std::byte> out) const override {
    asked.emplace_back();
    for (const Piece& piece : pieces) {
      asked.back().push_back({piece.offset, piece.bytes});
      piece.source->read(piece.offset, out.first(piece.bytes));
      out = out.subspan(piece.bytes);
    }
  }
  mutable std::deque<std::vector<Place>> asked;
};

class Zeros final : public ByteSource {
 public:
  const std::string& path() const noexcept override { return path_; }
  void read(std::uint64_t, std::span<std::byte> out) const override { std::ranges::fill(out, std::byte{}); }
  bool is_file() const noexcept override { return true; }

 private:
  std::string path_ = "zeros";
};

TEST(FetchTest, ReadsNeighboursAtOnceUpToABound) {
  const Zeros source, other;
  ReadPlan plan;
  plan.add(source, 100, 10);
  plan.add(source, 110, 20);
  plan.add(other, 130, 5);
  plan.add(source, 130, 5);
  plan.add(source, 200, 1);
  plan.add(source, 201, io::kMostBytesAtOnce - 1);
  plan.add(source, 200 + io::kMostBytesAtOnce, 3);
  const WatchingEngine engine;
  const std::array<const io::Engine*, 1> by = {&engine};
  Bytes bytes(plan.bytes());
  io::fetch(plan, bytes, by);
  ASSERT_EQ(engine.asked.size(), 1U);
  EXPECT_THAT(engine.asked.front(),
              ElementsAre(Place{100, 30}, Place{130, 5}, Place{130, 5}, Place{200, io::kMostBytesAtOnce},
                          Place{200 + io::kMostBytesAtOnce, 3}));
}

TEST_F(ReadPlanTest, IsFetchedByTheFirstEngineThatCan) {
  const auto chunks = open(write({"raw", {16, 5}, raw})),
             scaled = open(write({"scaled", {16, 5}, scale_offset}));
  ReadPlan plan = plan_rows(chunks, 0, 60);
  scaled.plan(10, 10, plan);
  scaled.plan(30, 10, plan);
  chunks.plan(5, 3, plan);
  const WatchingEngine engine;
  const std::array<const io::Engine*, 2> by = {&engine, &io::hdf5_engine()};
  Bytes bytes(plan.bytes());
  io::fetch(plan, bytes, by);
  EXPECT_EQ(engine.asked.size(), 2U) << "the library's rows lie between";
  EXPECT_EQ(bytes, fetch_backwards(plan));
  Bytes by_default(plan.bytes());
  io::fetch(plan, by_default);
  EXPECT_EQ(by_default, bytes);

  const std::array<const io::Engine*, 1> library = {&io::hdf5_engine()};
  EXPECT_THAT(refusal_to_open([&] { io::fetch(plan, bytes, library); }),
              AllOf(HasSubstr("raw.h5: no engine can read it"), HasSubstr("hdf5: it is read as a file")));
}

TEST_F(ReadPlanTest, OfOtherRowsIsRefused) {
  const auto dataset = open(write({"filtered", {16, 5}, shuffle_deflate}));
  const auto other = open(write({"other", {16, 5}, shuffle_deflate}));
  const auto told = [&](std::size_t first, std::size_t count, const ReadPlan& plan) {
    const Bytes bytes = fetch_backwards(plan);
    return refusal_to_open([&] { decode(dataset, first, count, {plan, bytes}); });
  };
  EXPECT_EQ(told(16, 32, plan_rows(dataset, 16, 32)), "opened");
  EXPECT_THAT(
      told(16, 32, plan_rows(dataset, 0, 32)),
      AllOf(HasSubstr("filtered.h5: "), HasSubstr("are needed, but the plan has "), HasSubstr("plan these")));
  EXPECT_THAT(told(16, 32, plan_rows(other, 16, 32)), HasSubstr("other.h5; a plan serves only the samples"));
  EXPECT_THAT(told(16, 32, plan_rows(dataset, 16, 16)), HasSubstr("the plan has no more"));
  EXPECT_THAT(told(16, 32, {}), HasSubstr("the plan has no more"));
  EXPECT_THAT(told(16, 32, plan_rows(dataset, 16, 44)), HasSubstr("are planned but not needed"));

  const ReadPlan plan = plan_rows(dataset, 16, 32);
  const Bytes bytes = fetch_backwards(plan);
  EXPECT_THAT(refusal_to_open([&] {
                decode(dataset, 16, 32, {plan, std::span(bytes).first(bytes.size() - 1)});
              }),
              HasSubstr("were planned, but only "));
}

// Another chunk's rows must not stand for it, though both were decoded before.
TEST_F(ReadPlanTest, OfOtherDecodedRowsIsRefused) {
  const auto dataset = open(write({"large", {30, 5}, shuffle_deflate}));
  fetch_and_decode(dataset, 0, 3);
  fetch_and_decode(dataset, 30, 3);
  const ReadPlan second = plan_rows(dataset, 40, 3);
  ASSERT_NE(second.pieces.front().decoded, nullptr);
  EXPECT_THAT(refusal_to_open([&] {
                decode(dataset, 10, 3, {second, {}});
              }),
              AllOf(HasSubstr("are needed, but the plan has 0 bytes")));
}

TEST_F(ReadPlanTest, OfAFileThatIsTruncatedBeforeItIsFetchedIsRefusedByName) {
  const std::string name = write({"contiguous", {}, raw});
  const auto dataset = open(name);
  const ReadPlan plan = plan_rows(dataset, 0, 60);
  std::filesystem::resize_file(name, plan.pieces.front().offset + 100);
  Bytes bytes(plan.bytes());
  EXPECT_THAT(refusal_to_open([&] { io::fetch(plan, bytes); }),
              AllOf(HasSubstr("contiguous.h5: ends at byte "), HasSubstr("truncated while in use")));
}

// A chunk that is damaged after it was planned is named with its rows.
TEST_F(ReadPlanTest, DamageIsNamedWithItsRows) {
  const auto dataset = open(write({"filtered", {16, 5}, shuffle_deflate}));
  const ReadPlan plan = plan_rows(dataset, 16, 32);
  Bytes bytes = fetch_backwards(plan);
  bytes[plan.pieces.front().bytes + plan.pieces.back().bytes / 2] ^= std::byte{0x5A};
  EXPECT_THAT(refusal_to_open([&] {
                decode(dataset, 16, 32, {plan, bytes});
              }),
              AllOf(HasSubstr("filtered.h5, dataset 'x', rows 32 to 47"), HasSubstr("fetch the file again")));
}

}  // namespace
}  // namespace bunchtrain::data
