// SPDX-License-Identifier: Apache-2.0
// "Not there" is never zero: rows of virtual datasets whose source is missing, cut, or none are known at
// opening and named.
#include "absent_rows_fixture.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

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
