// SPDX-License-Identifier: Apache-2.0
// "Not there" is never zero: rows that were never written, or whose source is missing, are known at opening
// for every way in which HDF5 stores a dataset. HDF5 itself reads all of them as fill values without a word.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "hdf5_samples.hpp"
#include "storage/opened_file.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Values = std::vector<float>;

const std::vector<hsize_t> kShape = {60, 5};
constexpr std::size_t kRow = 5;

Values counted(std::size_t rows, float from = 0, std::size_t row = kRow) {
  Values values(rows * row);
  std::iota(values.begin(), values.end(), from);
  return values;
}

class AbsentRowsTest : public Hdf5FilesTest {
 protected:
  static StoredDataset open(const std::string& file, const std::string& name = "x") {
    return StoredDataset(std::make_shared<const hdf5::File>(hdf5::open_read_only(file)),
                         std::make_shared<const FileBytes>(file), name);
  }

  static Values read(const StoredDataset& dataset, std::size_t first, std::size_t count,
                     bool library = false) {
    const std::size_t row_bytes = dataset.layout().row_bytes();
    Values values(count * row_bytes / sizeof(float));
    const auto sink = [&](std::size_t at, std::size_t rows, const std::byte* bytes) {
      std::memcpy(reinterpret_cast<std::byte*>(values.data()) + at * row_bytes, bytes, rows * row_bytes);
    };
    library ? dataset.read_by_library(first, count, sink) : dataset.read(first, count, sink);
    return values;
  }

  static void expect_equals_library(const StoredDataset& dataset) {
    const std::size_t rows = dataset.layout().rows();
    for (const auto& [first, count] : std::vector<std::pair<std::size_t, std::size_t>>{
             {0, rows}, {0, 1}, {rows - 1, 1}, {rows / 3, rows / 2}, {rows / 2 - 1, 3}})
      EXPECT_EQ(read(dataset, first, count), read(dataset, first, count, true)) << count << " from " << first;
  }

  /// What opening for a card says; "" if all rows are there.
  static std::string refusal(const std::string& file, const std::string& name = "x", bool fill = false) {
    try {
      open(file, name).require_rows(fill);
    } catch (const DataError& error) {
      return error.what();
    }
    return {};
  }

  /// Writes rows [first, first + count) of a dataset [rows, 5].
  static void write_rows(hid_t dataset, hsize_t first, hsize_t count, hsize_t columns = kRow) {
    const hid_t space = H5Dget_space(dataset);
    const hsize_t start[] = {first, 0}, extent[] = {count, columns};
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, extent, nullptr);
    const hid_t memory = H5Screate_simple(2, extent, nullptr);
    const Values values = counted(count, 1, columns);
    EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values.data()), 0);
    H5Sclose(memory);
    H5Sclose(space);
  }

  std::string write_partly(const std::string& name, const StorageChoice& storage, hsize_t first,
                           hsize_t count, const FileChoice& format = {}, hsize_t columns = kRow) const {
    const hid_t file = create_file(path(name), format);
    write_dataset(file, "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, kShape, nullptr, storage);
    if (count > 0) {
      const hid_t dataset = H5Dopen2(file, "x", H5P_DEFAULT);
      write_rows(dataset, first, count, columns);
      H5Dclose(dataset);
    }
    H5Fclose(file);
    return path(name);
  }
};

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

/// A mapping of rows [first, first + count) to rows from `source_first` on of a source of `source_rows` rows.
struct Mapping {
  std::string file;
  hsize_t first = 0, count = 0, source_first = 0, source_rows = 0;
  std::string dataset = "x";
};

class VirtualRowsTest : public AbsentRowsTest {
 protected:
  std::string write_source(const std::string& name, hsize_t rows, float from,
                           const StorageChoice& storage = {"", {4, 5}}) const {
    const hid_t file = create_file(path(name));
    write_floats(file, "x", {rows, kRow}, counted(rows, from), storage);
    H5Fclose(file);
    return path(name);
  }

  std::string write_virtual(const std::string& name, hsize_t rows,
                            const std::vector<Mapping>& mappings) const {
    const hid_t file = create_file(path(name), {.latest_format = true});
    write_dataset(file, "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {rows, kRow}, nullptr,
                  {"", {}, [&](hid_t create) {
                     const float fill = -1;
                     H5Pset_fill_value(create, H5T_NATIVE_FLOAT, &fill);
                     for (const auto& mapping : mappings) map(create, rows, mapping);
                   }});
    H5Fclose(file);
    return path(name);
  }

  static void map(hid_t create, hsize_t rows, const Mapping& mapping) {
    const hsize_t shape[] = {rows, kRow}, source_shape[] = {mapping.source_rows, kRow};
    const hid_t target = H5Screate_simple(2, shape, nullptr);
    const hid_t source = H5Screate_simple(2, source_shape, nullptr);
    const hsize_t start[] = {mapping.first, 0}, source_start[] = {mapping.source_first, 0};
    const hsize_t extent[] = {mapping.count, kRow};
    H5Sselect_hyperslab(target, H5S_SELECT_SET, start, nullptr, extent, nullptr);
    H5Sselect_hyperslab(source, H5S_SELECT_SET, source_start, nullptr, extent, nullptr);
    EXPECT_GE(H5Pset_virtual(create, target, mapping.file.c_str(), mapping.dataset.c_str(), source), 0);
    H5Sclose(target);
    H5Sclose(source);
  }

  /// 60 rows from a.h5 and 40 from b.h5.
  std::string write_pair() const {
    write_source("a.h5", 60, 0);
    write_source("b.h5", 40, 300);
    return write_virtual("v.h5", 100, {{"a.h5", 0, 60, 0, 60}, {"b.h5", 60, 40, 0, 40}});
  }
};

TEST_F(VirtualRowsTest, ComeFromTheirSources) {
  const auto dataset = open(write_pair());
  EXPECT_EQ(dataset.path_text(), "virtual, 2 files: pread of chunks");
  EXPECT_TRUE(dataset.absent().empty());
  EXPECT_EQ(read(dataset, 0, 100), counted(100));
  expect_equals_library(dataset);
  EXPECT_EQ(dataset.other_files().size(), 2U);

  // Parts of sources in another order, of the same file too.
  const auto mixed = open(write_virtual(
      "mixed.h5", 50, {{"b.h5", 0, 20, 20, 40}, {"a.h5", 20, 10, 5, 60}, {"b.h5", 30, 20, 0, 40}}));
  expect_equals_library(mixed);
  EXPECT_EQ(read(mixed, 25, 1).front(), 50.0F);
}

// Training on a virtual dataset and validating on one of its sources is found by these.
TEST_F(VirtualRowsTest, HaveTheIdentitiesOfTheirSources) {
  const auto identities = [](const std::string& name) {
    const OpenedFile file(name);
    const auto dataset = file.open("x", false);
    const StoredDataset* datasets[] = {&dataset};
    return file.identities(datasets, false);
  };
  const auto files = identities(write_pair());
  ASSERT_EQ(files.size(), 3U);
  for (const std::size_t source : {1U, 2U})
    EXPECT_EQ(files[source].fingerprint, identities(files[source].path).front().fingerprint);
  write_source("b.h5", 40, 301);
  EXPECT_NE(identities(path("v.h5")).front().fingerprint, files.front().fingerprint);
}

TEST_F(VirtualRowsTest, MayBeNestedAndOfTheSameFile) {
  write_pair();
  const std::string outer = write_virtual("outer.h5", 90, {{"v.h5", 0, 90, 10, 100}});
  expect_equals_library(open(outer));
  std::filesystem::remove(path("b.h5"));
  EXPECT_THAT(refusal(outer),
              AllOf(HasSubstr("outer.h5, dataset 'x': rows 50 to 89 come from rows 60 to 99 of "),
                    HasSubstr("v.h5, dataset 'x'"), HasSubstr("b.h5 is not there")));

  const std::string own = write_virtual("own.h5", 60, {{".", 0, 60, 0, 60, "source"}});
  const hid_t file = H5Fopen(own.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  write_floats(file, "source", kShape, counted(60, 7));
  H5Fclose(file);
  EXPECT_EQ(read(open(own), 0, 60), counted(60, 7));

  const std::string endless = write_virtual("endless.h5", 60, {{".", 0, 60, 0, 60, "x"}});
  EXPECT_THAT(refusal(endless), HasSubstr("come from each other"));
}

TEST_F(VirtualRowsTest, OfAMissingSourceAreNamed) {
  const std::string file = write_pair();
  std::filesystem::remove(path("b.h5"));
  EXPECT_THAT(refusal(file),
              AllOf(HasSubstr("v.h5, dataset 'x': rows 60 to 99 come from another file, but b.h5 is "
                              "not there (looked for "),
                    HasSubstr(path("b.h5")), HasSubstr("missing = \"fill\"")));
  EXPECT_EQ(refusal(file, "x", true), "");
  const auto dataset = open(file);
  EXPECT_EQ(dataset.absent_rows(), (RowSpans{{60, 40}}));
  EXPECT_EQ(read(dataset, 59, 2), (Values{295, 296, 297, 298, 299, -1, -1, -1, -1, -1}));
}

TEST_F(VirtualRowsTest, OfASourceThatIsNoneAreNamed) {
  const std::string file = write_pair();
  const auto said_of = [&](const std::string& content) {
    std::ofstream(path("b.h5"), std::ios::binary) << content;
    return refusal(file);
  };
  EXPECT_THAT(said_of(""), AllOf(HasSubstr("rows 60 to 99"), HasSubstr("b.h5: not an HDF5 file")));

  const hid_t other = create_file(path("b.h5"));
  write_floats(other, "y", {40, 5}, counted(40));
  H5Fclose(other);
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("rows 60 to 99"), HasSubstr("b.h5 has no dataset 'x'")));

  write_source("b.h5", 40, 300);
  std::filesystem::resize_file(path("b.h5"), std::filesystem::file_size(path("b.h5")) / 2);
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("rows 60 to 99"), HasSubstr("truncated")));

  write_source("b.h5", 25, 300);
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("rows 85 to 99 come from"), HasSubstr("ends at its row 25")));

  write_partly("b.h5", {"", {10, 5}}, 0, 20);
  EXPECT_THAT(refusal(file),
              AllOf(HasSubstr("rows 80 to 99 come from rows 20 to 59 of"), HasSubstr("were never written")));
}

// A source that is there but cannot be opened now is no matter of fill values: no card accepts it.
TEST_F(VirtualRowsTest, OfASourceThatCannotBeOpenedAreRefusedInAnyCase) {
  const std::string file = write_pair();
  std::filesystem::remove(path("b.h5"));
  std::filesystem::create_symlink("b.h5", path("b.h5"));  // ELOOP stands for all that the system refuses
  for (const bool fill : {false, true})
    EXPECT_THAT(refusal(file, "x", fill),
                AllOf(HasSubstr("rows 60 to 99"), HasSubstr("b.h5: cannot be opened: Too many levels"),
                      HasSubstr("make the file readable")));
}

TEST_F(VirtualRowsTest, ThatNoSourceGivesAreNamed) {
  write_source("a.h5", 60, 0);
  EXPECT_THAT(refusal(write_virtual("gap.h5", 100, {{"a.h5", 0, 30, 0, 60}, {"a.h5", 70, 30, 30, 60}})),
              HasSubstr("rows 30 to 69 are in none of its sources"));
}

TEST_F(VirtualRowsTest, OfNumberedFiles) {
  for (int i = 0; i < 4; ++i)
    write_source("part-" + std::to_string(i) + ".h5", 10, 50.0F * static_cast<float>(i));
  const hid_t file = create_file(path("parts.h5"), {.latest_format = true});
  const hsize_t none[] = {0, kRow}, most[] = {H5S_UNLIMITED, kRow}, ten[] = {10, kRow};
  const hsize_t start[] = {0, 0}, stride[] = {10, 1}, count[] = {H5S_UNLIMITED, 1};
  const hid_t target = H5Screate_simple(2, none, most), source = H5Screate_simple(2, ten, nullptr);
  H5Sselect_hyperslab(target, H5S_SELECT_SET, start, stride, count, ten);
  const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  ASSERT_GE(H5Pset_virtual(create, target, "part-%b.h5", "x", source), 0);
  const hid_t dataset = H5Dcreate2(file, "x", H5T_IEEE_F32LE, target, H5P_DEFAULT, create, H5P_DEFAULT);
  ASSERT_GE(dataset, 0);
  H5Dclose(dataset);
  H5Pclose(create);
  H5Sclose(target);
  H5Sclose(source);
  H5Fclose(file);

  EXPECT_EQ(refusal(path("parts.h5")), "");
  EXPECT_EQ(read(open(path("parts.h5")), 0, 40), counted(40));
  std::filesystem::remove(path("part-1.h5"));
  EXPECT_THAT(refusal(path("parts.h5")),
              AllOf(HasSubstr("ends at row 10 because its source part-1.h5 is not there, but part-2.h5 is")));
}

// Columns from different files: HDF5 puts the rows together, its sources are looked at all the same.
TEST_F(VirtualRowsTest, PutTogetherFromColumns) {
  const auto write_columns = [&](const std::string& name, hsize_t columns, float from) {
    const hid_t file = create_file(path(name));
    write_floats(file, "x", {20, columns}, counted(20, from, columns), {});
    H5Fclose(file);
  };
  write_columns("left.h5", 2, 0);
  write_columns("right.h5", 3, 1000);
  const auto write_joined = [&](hsize_t right_columns) {
    const hid_t file = create_file(path("joined.h5"), {.latest_format = true});
    write_dataset(
        file, "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {20, 5}, nullptr,
        {"", {}, [&](hid_t create) {
           const hsize_t shape[] = {20, 5};
           for (const auto& [name, first, columns] : std::vector<std::tuple<std::string, hsize_t, hsize_t>>{
                    {"left.h5", 0, 2}, {"right.h5", 2, right_columns}}) {
             const hid_t target = H5Screate_simple(2, shape, nullptr);
             const hsize_t start[] = {0, first}, extent[] = {20, columns};
             H5Sselect_hyperslab(target, H5S_SELECT_SET, start, nullptr, extent, nullptr);
             const hid_t source = H5Screate_simple(2, extent, nullptr);
             EXPECT_GE(H5Pset_virtual(create, target, name.c_str(), "x", source), 0);
             H5Sclose(target);
             H5Sclose(source);
           }
         }});
    H5Fclose(file);
    return path("joined.h5");
  };
  EXPECT_THAT(refusal(write_joined(2)), HasSubstr("rows 0 to 19 are in none of its sources"));
  const std::string file = write_joined(3);
  EXPECT_EQ(refusal(file), "");
  EXPECT_EQ(open(file).path_text(), "H5Dread (virtual dataset)");
  EXPECT_EQ(read(open(file), 1, 1), (Values{2, 3, 1003, 1004, 1005}));
  std::filesystem::remove(path("right.h5"));
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("rows 0 to 19"), HasSubstr("right.h5 is not there")));
}

TEST_F(VirtualRowsTest, OfAnotherTypeAreConvertedByHdf5) {
  const hid_t file = create_file(path("a.h5"));
  const Values values = counted(60);
  write_dataset(file, "x", H5T_IEEE_F64BE, H5T_NATIVE_FLOAT, kShape, values.data(), {"", {4, 5}});
  H5Fclose(file);
  const auto dataset = open(write_virtual("v.h5", 60, {{"a.h5", 0, 60, 0, 60}}));
  EXPECT_EQ(dataset.path_text(), "H5Dread (virtual dataset)");
  EXPECT_EQ(read(dataset, 0, 60), values);
}

TEST_F(VirtualRowsTest, OfADamagedSourceNameIt) {
  const auto checked = [](hid_t create) { H5Pset_fletcher32(create); };
  write_source("a.h5", 60, 0, {"", {60, 5}, checked});
  const std::string file = write_virtual("v.h5", 60, {{"a.h5", 0, 60, 0, 60}});
  std::fstream stream(path("a.h5"), std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path("a.h5"))) - 100);
  stream.put('\x5A');
  stream.close();
  EXPECT_THAT(refusal(file), AllOf(HasSubstr("a.h5, dataset 'x', rows 0 to 59"), HasSubstr("fletcher32"),
                                   HasSubstr("while opening a source of virtual"), HasSubstr("v.h5")));
}

// In a process of its own: a hard limit cannot be raised again.
TEST_F(VirtualRowsTest, OfMoreFilesThanMayBeOpen) {
  constexpr int files = 150;
  std::vector<Mapping> mappings;
  for (hsize_t i = 0; i < files; ++i) {
    const std::string name = std::to_string(i) + ".h5";
    write_source(name, 4, 20.0F * static_cast<float>(i));
    mappings.push_back({name, 4 * i, 4, 0, 4});
  }
  const std::string file = write_virtual("v.h5", 4 * files, mappings);
  for (const bool hard : {false, true}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      rlimit limit{};
      getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = 64;
      if (hard) limit.rlim_max = 64;
      setrlimit(RLIMIT_NOFILE, &limit);
      bool good = false;
      try {
        const auto dataset = open(file);
        good = dataset.absent().empty() && read(dataset, 0, 4 * files) == counted(4 * files) &&
               read(dataset, 1, 4 * files - 2).front() == kRow;
        getrlimit(RLIMIT_NOFILE, &limit);
        good = good && (hard || limit.rlim_cur > 300);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
      }
      _exit(good ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << (hard ? "hard limit" : "soft limit");
  }
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

/// What opening itself says.
std::string refusal_to_open(const std::function<void()>& open) {
  try {
    open();
  } catch (const DataError& error) {
    return error.what();
  }
  return "opened";
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

/// Runs `action`, which says what it was told, in a process that may open `files` files.
std::string told_with_few_files(rlim_t files, const std::string& answer,
                                const std::function<std::string()>& action) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit few{.rlim_cur = files, .rlim_max = files};
    std::ofstream out(answer);
    setrlimit(RLIMIT_NOFILE, &few);
    out << action() << std::flush;
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  std::ifstream in(answer);
  return {std::istreambuf_iterator<char>(in), {}};
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
  EXPECT_THAT(told, AllOf(HasSubstr(path("0")), HasSubstr("was replaced or truncated while in use")));
}

/// What HDF5 has to read itself needs all sources at once.
TEST_F(VirtualRowsTest, OfMoreSourcesThanMayBeOpenAreRefusedWithTheWayOut) {
  constexpr hsize_t kFiles = 60;
  for (hsize_t i = 0; i < kFiles; ++i) write_source(std::to_string(i) + ".h5", 4, 0);
  const hid_t file = create_file(path("v.h5"), {.latest_format = true});
  write_dataset(file, "x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {4, kFiles}, nullptr,
                {"", {}, [&](hid_t create) {
                   const hsize_t shape[] = {4, kFiles}, source_shape[] = {4, kRow}, extent[] = {4, 1};
                   for (hsize_t i = 0; i < kFiles; ++i) {  // a column each
                     const hsize_t start[] = {0, i}, source_start[] = {0, 0};
                     const hid_t target = H5Screate_simple(2, shape, nullptr);
                     const hid_t source = H5Screate_simple(2, source_shape, nullptr);
                     H5Sselect_hyperslab(target, H5S_SELECT_SET, start, nullptr, extent, nullptr);
                     H5Sselect_hyperslab(source, H5S_SELECT_SET, source_start, nullptr, extent, nullptr);
                     EXPECT_GE(
                         H5Pset_virtual(create, target, (std::to_string(i) + ".h5").c_str(), "x", source), 0);
                     H5Sclose(target);
                     H5Sclose(source);
                   }
                 }});
  H5Fclose(file);
  const std::string told =
      told_with_few_files(40, path("answer"), [&] { return refusal_to_open([&] { open(path("v.h5")); }); });
  EXPECT_THAT(told, AllOf(HasSubstr("v.h5, dataset 'x'"), HasSubstr("60 sources have to be open at once"),
                          HasSubstr("ulimit -n")));
}

/// It grows with its source, and there is none.
TEST_F(VirtualRowsTest, OfNoRowsAtAllNameTheirSource) {
  const hid_t file = create_file(path("v.h5"), {.latest_format = true});
  const hsize_t shape[] = {0, kRow}, most[] = {H5S_UNLIMITED, kRow}, start[] = {0, 0};
  const hsize_t count[] = {H5S_UNLIMITED, 1}, block[] = {1, kRow};
  const hid_t space = H5Screate_simple(2, shape, most), create = H5Pcreate(H5P_DATASET_CREATE);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, block);
  EXPECT_GE(H5Pset_virtual(create, space, "gone.h5", "x", space), 0);
  H5Sselect_all(space);
  const hid_t dataset = H5Dcreate2(file, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
  EXPECT_GE(dataset, 0);
  H5Dclose(dataset);
  H5Pclose(create);
  H5Sclose(space);
  H5Fclose(file);
  EXPECT_THAT(
      refusal_to_open([&] { open(path("v.h5")); }),
      AllOf(HasSubstr("v.h5"), HasSubstr("has no rows"), HasSubstr("gone.h5"), HasSubstr("put it back")));
}

}  // namespace
}  // namespace bunchtrain::data
