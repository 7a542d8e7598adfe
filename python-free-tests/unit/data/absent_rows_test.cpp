// SPDX-License-Identifier: Apache-2.0
// "Not there" is never zero: rows that were never written are known at opening for every way in which HDF5
// stores a dataset. HDF5 itself reads all of them as fill values without a word.
#include "absent_rows_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST_F(AbsentRowsTest, OfContiguousAndCompactData) {
  EXPECT_THAT(refusal(write_partly("never.h5", {}, 0, 0)),
              AllOf(HasSubstr("never.h5, dataset 'x': rows 0 to 59 were never written"),
                    HasSubstr("missing = \"fill\"")));
  EXPECT_EQ(refusal(path("never.h5"), "x", true), "");
  EXPECT_EQ(refusal(write_partly("written.h5", {}, 0, 60)), "");
  const auto compact = [](hid_t create) { H5Pset_layout(create, H5D_COMPACT); };
  EXPECT_EQ(refusal(write_partly("compact.h5", {"", {}, compact}, 0, 60)), "");
}

TEST_F(AbsentRowsTest, OfChunksInBothFormats) {
  const auto deflate = [](hid_t create) { H5Pset_deflate(create, 4); };
  for (const bool latest : {false, true}) {
    const FileChoice format{.latest_format = latest};
    EXPECT_THAT(refusal(write_partly("none.h5", {"", {7, 5}}, 0, 0, format)),
                HasSubstr("rows 0 to 59 were never written"));
    EXPECT_THAT(refusal(write_partly("end.h5", {"", {10, 5}, deflate}, 0, 30, format)),
                HasSubstr("dataset 'x': rows 30 to 59 were never written"));
    EXPECT_THAT(refusal(write_partly("middle.h5", {"", {1, 5}}, 21, 1, format)),
                HasSubstr("rows 0 to 20, rows 22 to 59 were never written"));
    EXPECT_EQ(refusal(write_partly("all.h5", {"", {7, 5}, deflate}, 0, 60, format)), "");
    // Chunks along another axis, as when padding was never written.
    EXPECT_THAT(refusal(write_partly("part.h5", {"", {20, 2}}, 0, 40, format, 3)),
                AllOf(HasSubstr("rows 40 to 59 were never written"),
                      HasSubstr("rows 0 to 39 were written in part only")));
  }
}

TEST_F(AbsentRowsTest, OfDataThatHdf5Decodes) {
  const auto scaled = [](hid_t create) { H5Pset_scaleoffset(create, H5Z_SO_FLOAT_DSCALE, 2); };
  const std::string file = write_partly("scaled.h5", {"", {10, 5}, scaled}, 0, 30);
  EXPECT_THAT(open(file).path_text(), HasSubstr("scale-offset"));
  EXPECT_THAT(refusal(file), HasSubstr("rows 30 to 59 were never written"));
}

TEST_F(AbsentRowsTest, OfFarMoreChunksThanTheFileHasBytes) {
  const std::vector<hsize_t> shape = {2000000, 5};
  for (const bool latest : {false, true}) {
    const hid_t file = create_file(path("small.h5"), {.latest_format = latest});
    write_dataset(file, "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, shape, nullptr, {"", {1, 5}});
    const hid_t dataset = H5Dopen2(file, "x", H5P_DEFAULT);
    write_rows(dataset, 0, 20);
    H5Dclose(dataset);
    H5Fclose(file);
    EXPECT_THAT(refusal(path("small.h5")), HasSubstr("rows 20 to 1999999 were never written"));
    EXPECT_EQ(read(open(path("small.h5")), 18, 3), [] {
      Values values = counted(20, 1);
      values.erase(values.begin(), values.begin() + 90);
      values.resize(15, 0);
      return values;
    }());
  }
}

// HDF5 1.10 needs minutes for the addresses of so many, but tells at once whether each is there.
TEST_F(AbsentRowsTest, OfManyChunksOfTheNewestFormat) {
  const std::vector<hsize_t> shape = {30000, 5};
  for (const hsize_t written : {hsize_t{30000}, hsize_t{25000}}) {
    const hid_t file = create_file(path("many.h5"), {.latest_format = true});
    write_dataset(file, "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, shape, nullptr, {"", {1, 5}});
    const hid_t dataset = H5Dopen2(file, "x", H5P_DEFAULT);
    write_rows(dataset, 0, written);
    H5Dclose(dataset);
    H5Fclose(file);
    EXPECT_EQ(read(open(path("many.h5")), 24999, 1).front(), 1 + 24999 * 5.0F);
    const std::string said = refusal(path("many.h5"));
    EXPECT_EQ(said.empty(), written == 30000) << said;
    EXPECT_THAT(said, written == 30000 ? HasSubstr("") : HasSubstr("rows 25000 to 29999 were never written"));
  }
}

TEST_F(AbsentRowsTest, OfExternalFiles) {
  const auto with_parts = [&](std::vector<std::pair<std::string, hsize_t>> parts) {
    return [this, parts](hid_t create) {
      for (const auto& [name, bytes] : parts) H5Pset_external(create, path(name).c_str(), 0, bytes);
    };
  };
  const hsize_t half = 30 * kRow * sizeof(float);
  const std::string file =
      write_partly("external.h5", {"", {}, with_parts({{"a.raw", half}, {"b.raw", H5F_UNLIMITED}})}, 0, 60);
  EXPECT_EQ(refusal(file), "");
  EXPECT_EQ(read(open(file), 0, 60), counted(60, 1));
  EXPECT_THAT(open(file).other_files(), testing::ElementsAre(path("a.raw"), path("b.raw")));

  std::filesystem::resize_file(path("b.raw"), half / 2 + 1);
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("rows 45 to 59 lie in the external file"), HasSubstr("b.raw"),
                                   HasSubstr("ends at byte 301")));
  std::filesystem::remove(path("a.raw"));
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("rows 0 to 29 lie in"), HasSubstr("a.raw, which is not there")));
}

TEST_F(AbsentRowsTest, NothingBeyondTheEndOfAFileIsRead) {
  const std::string file = write_partly("cut.h5", {"", {}, [](hid_t) {}}, 0, 60);
  const auto bytes = std::filesystem::file_size(file);
  std::filesystem::resize_file(file, bytes - 40);
  EXPECT_THROW(open(file), DataError);
}

TEST(RowSpansTest, AreJoinedCutAndNamed) {
  EXPECT_EQ(normalised({{5, 2}, {0, 3}, {6, 4}, {3, 1}, {20, 0}}), (RowSpans{{0, 4}, {5, 5}}));
  EXPECT_EQ(cut({{0, 4}, {5, 5}}, 2, 5), (RowSpans{{0, 2}, {3, 2}}));
  EXPECT_EQ(complement({{2, 3}, {7, 1}}, 10), (RowSpans{{0, 2}, {5, 2}, {8, 2}}));
  EXPECT_EQ(complement({}, 3), (RowSpans{{0, 3}}));
  EXPECT_EQ(to_string(RowSpans{{3, 1}, {20, 20}}), "row 3, rows 20 to 39");
  EXPECT_EQ(to_string(RowSpans{{0, 1}, {2, 1}, {4, 1}, {6, 1}, {8, 2}, {12, 1}}),
            "row 0, row 2, row 4, row 6 and 2 more ranges, 7 rows in all");
}

/// Replaces the address `from` of a piece of `size` bytes by `to`; HDF5 writes a size, here, behind it.
void replace_address(const std::string& file, std::uint64_t from, std::uint64_t size, std::uint64_t to) {
  std::ifstream in(file, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const std::uint64_t pair[] = {from, size};
  const std::string_view wanted(reinterpret_cast<const char*>(pair), sizeof(pair));
  const std::size_t place = bytes.find(wanted);
  ASSERT_NE(place, std::string::npos);
  ASSERT_EQ(bytes.find(wanted, place + 1), std::string::npos);
  std::memcpy(bytes.data() + place, &to, sizeof(to));
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

TEST_F(AbsentRowsTest, RowsBeyondTheEndOfTheFileAreNamed) {
  for (const bool chunked : {false, true}) {
    const std::string file = path("x.h5");
    hid_t handle = create_file(file);
    write_floats(handle, "x", kShape, counted(60), chunked ? StorageChoice{"", {10, 5}} : StorageChoice{});
    const hid_t dataset = H5Dopen2(handle, "x", H5P_DEFAULT), space = H5Dget_space(dataset);
    haddr_t address = chunked ? 0 : H5Dget_offset(dataset);
    hsize_t first[2] = {}, bytes = 60 * kRow * sizeof(float);
    unsigned mask = 0;
    if (chunked) {
      EXPECT_GE(H5Dget_chunk_info(dataset, space, 2, first, &mask, &address, &bytes), 0);
    }
    H5Sclose(space);
    H5Dclose(dataset);
    H5Fclose(handle);
    replace_address(file, address, bytes, std::filesystem::file_size(file) - 8);
    EXPECT_THAT(
        refusal_to_open([&] { open(file); }),
        AllOf(HasSubstr("x.h5, dataset 'x'"),
              HasSubstr(chunked ? "rows from 20 on lie beyond the end" : "rows from 0 on lie beyond the end"),
              HasSubstr("fetch it again")));
  }
}

TEST_F(AbsentRowsTest, MoreChunksThanCanBeCountedAreDamage) {
  const std::string file = path("many.h5");
  const hid_t handle = create_file(file);
  const hsize_t many = hsize_t{1} << 30;
  write_dataset(handle, "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {many, many, 1 << 8}, nullptr,
                {"", {1, 1, 1}});
  H5Fclose(handle);
  EXPECT_THAT(refusal_to_open([&] { open(file); }),
              AllOf(HasSubstr("many.h5, dataset 'x'"), HasSubstr("more chunks than can be counted")));
}

TEST_F(AbsentRowsTest, AFileThatWasReplacedWhileInUseIsNamed) {
  for (int i = 0; i < 40; ++i) std::ofstream(path(std::to_string(i))) << "0123456789";
  const std::string told = told_with_few_files(40, path("answer"), [&] {
    std::vector<std::unique_ptr<FileBytes>> files;
    for (int i = 0; i < 40; ++i) files.push_back(std::make_unique<FileBytes>(path(std::to_string(i))));
    std::ofstream(path("0")) << "012";
    std::vector<std::byte> bytes(3);
    return refusal_to_open([&] { files.front()->read(0, bytes); });
  });
  EXPECT_THAT(told,
              AllOf(HasSubstr(path("0")),
                    HasSubstr("had 10 bytes and has 3 now: it was written to or truncated while in use")));
}

}  // namespace
}  // namespace bunchtrain::data
