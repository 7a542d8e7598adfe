// SPDX-License-Identifier: Apache-2.0 The forms in which files come: links, newer and foreign formats,
// filters of h5py and PyTables, storage in trouble.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/random.hpp"
#include "foreign_file.hpp"
#include "hdf5_samples.hpp"
#include "storage/contents_of.hpp"
#include "storage/lzf.hpp"
#include "storage/opened_file.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using Bytes = std::vector<std::byte>;

template <class... Numbers>
Bytes bytes_of(Numbers... numbers) {
  return {static_cast<std::byte>(numbers)...};
}

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<std::string> unpacked(const Bytes& stored, std::size_t room) {
  Bytes out(room);
  const auto written = decompress_lzf(stored, out);
  if (!written) return std::nullopt;
  out.resize(*written);
  return text_of(out);
}

class FileFormsTest : public Hdf5FilesTest {
 protected:
  static StoredDataset open(const std::string& file, const std::string& name = "x") {
    return OpenedFile(file).open(name, false);
  }

  template <class Value>
  static std::vector<Value> read(const StoredDataset& dataset) {
    std::vector<Value> values(dataset.layout().rows() * dataset.layout().row_bytes() / sizeof(Value));
    auto* out = reinterpret_cast<std::byte*>(values.data());
    const std::size_t row_bytes = dataset.layout().row_bytes();
    dataset.read(0, dataset.layout().rows(), [&](std::size_t at, std::size_t rows, const std::byte* bytes) {
      std::memcpy(out + at * row_bytes, bytes, rows * row_bytes);
    });
    return values;
  }

  std::string write_counted(const std::string& name, const StorageChoice& storage = {}) const {
    const hid_t file = create_file(path(name));
    write_floats(file, "x", {20, 3}, counted(), storage);
    H5Fclose(file);
    return path(name);
  }
  static std::vector<float> counted() {
    std::vector<float> values(60);
    std::iota(values.begin(), values.end(), 0.0F);
    return values;
  }
  template <class Call>
  static std::string refusal(const Call& call) {
    try {
      call();
    } catch (const DataError& error) {
      return error.what();
    }
    return "no exception";
  }
};

// As liblzf (in h5py 3.16) compressed them.
TEST(LzfTest, UndoesWhatH5pyWrote) {
  EXPECT_EQ(unpacked(bytes_of(0x03, 'a', 'b', 'c', 'a', 0xe0, 0x17, 0x02, 0x03, '_', 'x', 'y', 'z'), 40),
            "abcabcabcabcabcabcabcabcabcabcabcabc_xyz");
  EXPECT_EQ(
      unpacked(bytes_of(0x01, 0, 0, 0xe0, 0xff, 0, 0xe0, 0xff, 0, 0xe0, 0xff, 0, 0xe0, 0xc3, 0, 0x01, 0, 0),
               1000),
      std::string(1000, '\0'));
  EXPECT_EQ(unpacked({}, 10), "");
}

TEST(LzfTest, RefusesWhatIsDamaged) {
  const Bytes good = bytes_of(0x03, 'a', 'b', 'c', 'a', 0xe0, 0x17, 0x02, 0x03, '_', 'x', 'y', 'z');
  EXPECT_FALSE(unpacked(good, 39)) << "more than there is room for";
  for (const std::size_t length : {1U, 4U, 6U, 7U, 9U, 12U})
    EXPECT_FALSE(unpacked({good.begin(), good.begin() + length}, 40)) << "cut after " << length;
  EXPECT_FALSE(unpacked(bytes_of(0x00, 'a', 0x20, 0x01), 40)) << "refers to what is before the beginning";
  EXPECT_EQ(unpacked(bytes_of(0x00, 'a', 0x20, 0x00), 40), "aaaa");
  const CounterRandom random(1, 2);
  for (std::uint64_t trial = 0; trial < 2000; ++trial) {
    Bytes noise(1 + random.below(60, 100 * trial));
    for (std::size_t i = 0; i < noise.size(); ++i)
      noise[i] = static_cast<std::byte>(random.bits(100 * trial + i + 1));
    EXPECT_LE(unpacked(noise, 100).value_or("").size(), 100U);
  }
}

TEST_F(FileFormsTest, ReadsLzfBehindShuffle) {
  // numpy.arange(60, dtype='<i4') with shuffle, as h5py 3.16 stored the chunk.
  Bytes stored = bytes_of(0x1f);
  for (int i = 0; i < 32; ++i) stored.push_back(static_cast<std::byte>(i));
  stored.push_back(std::byte{0x1c});  // 29 literal bytes
  for (int i = 32; i < 60; ++i) stored.push_back(static_cast<std::byte>(i));
  for (const int more : {0x00, 0xe0, 0xa8, 0x00, 0x01, 0x00, 0x00})
    stored.push_back(static_cast<std::byte>(more));
  const auto pass = [](unsigned, std::size_t, const unsigned*, std::size_t bytes, std::size_t*, void**) {
    return bytes;
  };
  const H5Z_class2_t lzf = {H5Z_CLASS_T_VERS, 32000, 1, 1, "lzf", nullptr, nullptr, pass};
  ASSERT_GE(H5Zregister(&lzf), 0);
  const hid_t file = create_file(path("lzf.h5"));
  write_dataset(file, "x", H5T_STD_I32LE, H5T_NATIVE_INT32, {60}, nullptr,
                {"", {60}, [](hid_t create) {
                   H5Pset_shuffle(create);
                   H5Pset_filter(create, 32000, H5Z_FLAG_OPTIONAL, 0, nullptr);
                 }});
  const hid_t dataset = H5Dopen2(file, "x", H5P_DEFAULT);
  const hsize_t offset = 0;
  ASSERT_GE(H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, &offset, stored.size(), stored.data()), 0);
  H5Dclose(dataset);
  H5Fclose(file);
  ASSERT_GE(H5Zunregister(32000), 0);

  std::vector<std::int32_t> expected(60);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(read<std::int32_t>(open(path("lzf.h5"))), expected);

  std::fstream stream(path("lzf.h5"), std::ios::in | std::ios::out | std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(stream)), {});
  const auto place = content.find(text_of(stored));
  ASSERT_NE(place, std::string::npos);
  content[place + 63] = '\xff';  // the control byte of the last literal but one
  std::ofstream(path("lzf.h5"), std::ios::binary) << content;
  EXPECT_THAT(refusal([&] { open(path("lzf.h5")); }),
              AllOf(HasSubstr("lzf.h5, dataset 'x', rows 0 to 59"), HasSubstr("damaged (lzf)")));
}

// Opening compares a row in the middle: its words are those of any other chunk.
TEST_F(FileFormsTest, DamageIsNamedAlikeInEveryChunk) {
  for (const hsize_t row : {hsize_t{0}, hsize_t{10}}) {
    const std::string name =
        write_counted("x.h5", {"", {5, 3}, [](hid_t create) { H5Pset_fletcher32(create); }});
    {
      const auto file = hdf5::open_read_only(name);
      const hdf5::Dataset dataset(H5Dopen2(file.get(), "x", H5P_DEFAULT));
      const hsize_t at[] = {row, 0};
      unsigned mask = 0;
      haddr_t address = 0;
      hsize_t bytes = 0;
      ASSERT_GE(H5Dget_chunk_info_by_coord(dataset.get(), at, &mask, &address, &bytes), 0);
      std::fstream stream(name, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekp(static_cast<std::streamoff>(address + 9));
      stream.put('\x5A');
    }
    EXPECT_THAT(
        refusal([&] { read<float>(open(name)); }),
        AllOf(HasSubstr("x.h5, dataset 'x', rows " + std::to_string(row) + " to " + std::to_string(row + 4)),
              HasSubstr("fletcher32"), HasSubstr("fetch the file again")));
  }
}

TEST_F(FileFormsTest, BitFieldsAreUnsignedIntegers) {
  const hid_t file = create_file(path("bits.h5"));
  const std::vector<std::uint8_t> values = {1, 0, 1, 1, 0};
  write_dataset(file, "x", H5T_STD_B8LE, H5T_STD_B8LE, {5}, values.data(), {"", {5}});
  const hid_t row = H5Tcreate(H5T_COMPOUND, 2);
  H5Tinsert(row, "good", 0, H5T_STD_B8LE);
  H5Tinsert(row, "n", 1, H5T_STD_U8LE);
  const std::vector<std::uint8_t> rows = {1, 7, 0, 8};
  write_dataset(file, "table", row, row, {2}, rows.data());
  H5Tclose(row);
  H5Fclose(file);
  const auto dataset = open(path("bits.h5"));
  ASSERT_TRUE(dataset.layout().type);
  EXPECT_EQ(to_string(*dataset.layout().type), "uint8");
  EXPECT_EQ(read<std::uint8_t>(dataset), values);
  EXPECT_TRUE(open(path("bits.h5"), "table").layout().find("good")->type);
}

class LinksTest : public FileFormsTest {
 protected:
  /// jets -> store/x (soft), far -> other.h5 (external), twin (hard), a dangling and a cyclic link.
  std::string write_links() const {
    const hid_t other = create_file(path("other.h5"), {.userblock = 512});
    write_floats(other, "inside/y", {20, 3}, counted(), {"", {7, 3}});
    H5Fclose(other);
    const hid_t file = create_file(path("links.h5"));
    write_floats(file, "store/x", {20, 3}, counted(), {"", {4, 3}});
    H5Lcreate_soft("/store/x", file, "jets", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/store", file, "alias", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(file, "store/x", file, "twin", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/inside/y", file, "far", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("gone.h5", "/y", file, "gone", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/nowhere", file, "dangling", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/", file, "store/up", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/round", file, "round", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    return path("links.h5");
  }
};

TEST_F(LinksTest, AreFollowedOnceAndListedByTheirNames) {
  const auto listing = list_names(hdf5::open_read_only(write_links()));
  EXPECT_THAT(listing.datasets, ElementsAre("alias/x", "far", "jets", "store/x", "twin"));
  std::vector<std::string> unreadable;
  for (const auto& [name, why] : listing.unreadable) unreadable.push_back(name + ": " + why);
  EXPECT_THAT(unreadable, ElementsAre(HasSubstr("dangling: a soft link to '/nowhere', which is not there"),
                                      HasSubstr("gone: an external link to gone.h5, '/y'"),
                                      StartsWith("round: a soft link to")));
}

TEST_F(LinksTest, LeadToTheirValues) {
  const std::string file = write_links();
  for (const char* name : {"jets", "/jets", "twin", "alias/x", "/store/x", "store/up/jets", "far"})
    EXPECT_EQ(read<float>(open(file, name)), counted()) << name;
  const auto far = open(file, "far");
  EXPECT_EQ(far.path_text(), "pread of chunks");
  EXPECT_THAT(far.where(), AllOf(HasSubstr("links.h5, dataset 'far'"), HasSubstr("other.h5")));
  EXPECT_THAT(refusal([&] { open(file, "dangling"); }),
              AllOf(HasSubstr("links.h5, dataset 'dangling'"), HasSubstr("'/nowhere', which is not there")));
  const OpenedFile opened(file);
  EXPECT_TRUE(opened.has("jets"));
  EXPECT_TRUE(opened.has("/jets"));
  EXPECT_FALSE(opened.has("store"));
  EXPECT_FALSE(opened.has("nothing"));
}

// Byte 4 of the layout message's neighbourhood is a version: a number that no HDF5 knows yet.
TEST_F(FileFormsTest, OneUnreadableObjectDoesNotCondemnItsFile) {
  const std::string name = path("newer.h5");
  const hid_t file = create_file(name);
  write_floats(file, "broken", {20, 3}, counted());
  write_floats(file, "x", {20, 3}, counted());
  const hid_t broken = H5Oopen(file, "broken", H5P_DEFAULT);
  H5O_info_t info{};
  ASSERT_GE(H5Oget_info2(broken, &info, H5O_INFO_BASIC), 0);
  H5Oclose(broken);
  H5Fclose(file);
  std::fstream stream(name, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(info.addr));
  stream.put('\x09');  // the version of the object header
  stream.close();

  const auto contents = list_contents(name);
  ASSERT_EQ(contents.size(), 2U);
  EXPECT_EQ(contents[0].text, "cannot be opened");
  EXPECT_THAT(contents[0].unreadable,
              AllOf(HasSubstr("version"), HasSubstr("newer HDF5"), HasSubstr("python3 -c")));
  EXPECT_EQ(contents[1].text, "[20, 3] float32");
  EXPECT_THAT(list_contents(contents), AllOf(HasSubstr("x [20, 3]"), HasSubstr("broken: ")));
  EXPECT_EQ(shapes_of(contents).size(), 1U);
  EXPECT_EQ(read<float>(open(name)), counted());
  EXPECT_THAT(refusal([&] { open(name, "broken"); }),
              AllOf(HasSubstr("newer.h5, dataset 'broken': cannot be opened"),
                    HasSubstr("libver=('earliest', 'v110')")));
}

TEST_F(FileFormsTest, ForeignFilesAreNamedWithTheirConversion) {
  struct Case {
    std::string content, name, way;
  };
  using namespace std::string_literals;
  const std::vector<Case> cases = {
      {"root\0\0\xf2\xe5"s, "a ROOT file", "uproot"},
      {"PK\x03\x04-\0\0\0\0\0\0\0!\0part_pt.npy"s, "an archive of NumPy arrays (npz)", "numpy.load"},
      {"PK\x03\x04-\0\0\0\0\0\0\0!\0readme"s, "a zip archive", "unzip"},
      {"\x93NUMPY\x01\0"s, "a NumPy array (npy)", "numpy.load"},
      {"PAR1\x15"s, "a Parquet file", "read_parquet"},
      {"ARROW1\0\0"s, "an Arrow file", "read_feather"},
      {"\x80\x05\x95\x90\x03"s, "a Python pickle", "read_pickle"},
      {"\x1f\x8b\x08\0"s, "packed with gzip", "gunzip"},
      {"BZh91AY"s, "packed with bzip2", "bunzip2"},
      {"\xfd\x37zXZ\0"s, "packed with xz", "unxz"},
      {"\x28\xb5\x2f\xfd\x04"s, "packed with zstd", "unzstd"},
      {"version https://git-lfs.github.com/spec/v1\n"s, "a Git LFS pointer", "git lfs pull"},
      {"\n<!DOCTYPE html>\n<html>"s, "an HTML page", "fetch it again"},
      {"<HTML><body>404"s, "an HTML page", "fetch it again"},
      {"card = 1\n"s, "a text", "a card is given by"},
      {"1.0, 2.0, 3.0\n"s, "a text", "convert"},
      {std::string(257, '\0') + "ustar\0"s, "a tar archive", "tar xf"},
      {""s, "an empty file", "again"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    std::ofstream(path("jets.bin"), std::ios::binary) << one.content;
    EXPECT_THAT(refusal([&] { OpenedFile{path("jets.bin")}; }),
                AllOf(HasSubstr("jets.bin: not an HDF5 file but "), HasSubstr(one.name), HasSubstr(one.way)));
  }
  std::ofstream(path("jets.bin"), std::ios::binary) << "\x01\x02\x03"s;
  EXPECT_THAT(refusal([&] { OpenedFile{path("jets.bin")}; }),
              HasSubstr("jets.bin: not an HDF5 file (3 bytes); is the download complete?"));
}

TEST_F(FileFormsTest, PipesAndFoldersAreRefusedAtOnce) {
  ASSERT_EQ(mkfifo(path("pipe.h5").c_str(), 0600), 0);
  EXPECT_THAT(refusal([&] { OpenedFile{path("pipe.h5")}; }),
              AllOf(HasSubstr("pipe.h5: is a named pipe (FIFO)"), HasSubstr("write them to a file first")));
  EXPECT_THAT(refusal([&] { FileBytes{path("pipe.h5")}; }), HasSubstr("is no regular file"));
  EXPECT_THAT(refusal([&] { OpenedFile{folder_}; }), HasSubstr("is a folder"));
  EXPECT_THAT(refusal([&] { OpenedFile{"/dev/null"}; }), HasSubstr("is a device"));
}

// The kernel answers EIO to reads of memory that is not there.
TEST_F(FileFormsTest, StorageInTroubleIsNoMatterOfData) {
  const FileBytes memory("/proc/self/mem");
  std::array<std::byte, 16> bytes;
  try {
    memory.read(0, bytes);
    FAIL() << "no exception";
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), EIO);
    EXPECT_THAT(error.message(), HasSubstr("/proc/self/mem: cannot be read at byte 0: Input/output error"));
  }
}

TEST_F(FileFormsTest, AFileThatShrinksWhileReadIsNamed) {
  const std::string name = write_counted("x.h5");
  const FileBytes bytes(name);
  std::filesystem::resize_file(name, 100);
  std::array<std::byte, 200> some;
  EXPECT_THAT(refusal([&] { bytes.read(0, some); }),
              AllOf(HasSubstr("x.h5: ends at byte 100"), HasSubstr("truncated")));
}

TEST_F(FileFormsTest, AFullHashIsOfEveryByteInOrder) {
  const auto write = [&](const std::string& name, const std::string& content) {
    std::ofstream(path(name)) << content;
    return path(name);
  };
  const std::vector<std::string> ab = {write("a", "1"), write("b", "2")}, ba = {path("b"), path("a")};
  const std::string before = hash_contents(ab);
  EXPECT_EQ(hash_contents(ab), before);
  EXPECT_NE(hash_contents(ba), before);
  write("b", "3");
  EXPECT_NE(hash_contents(ab), before);
}

std::string fingerprint(const std::string& name, bool hash_data = false) {
  const OpenedFile file(name);
  const auto dataset = file.open("x", false);
  const StoredDataset* datasets[] = {&dataset};
  const auto identity = file.identities(datasets, hash_data).front();
  return identity.fingerprint + identity.contents;
}

TEST_F(FileFormsTest, FingerprintsAreOfWhatIsInAFile) {
  std::vector<float> values(20000);
  std::iota(values.begin(), values.end(), 0.0F);
  const auto write = [&](const std::string& name, const StorageChoice& storage) {
    const hid_t file = create_file(path(name));
    write_floats(file, "x", {10000, 2}, values, storage);
    H5Fclose(file);
    return path(name);
  };
  for (const auto& storage : {StorageChoice{}, StorageChoice{"", {100, 2}},
                              StorageChoice{"", {100, 2}, [](hid_t create) { H5Pset_deflate(create, 1); }}}) {
    values[777] = 777;
    const std::string original = write("x.h5", storage);
    std::filesystem::copy_file(original, path("copy.h5"), std::filesystem::copy_options::overwrite_existing);
    std::filesystem::remove(path("link.h5"));
    std::filesystem::create_symlink(original, path("link.h5"));
    for (const bool all : {false, true}) {
      EXPECT_EQ(fingerprint(original, all), fingerprint(path("copy.h5"), all));
      EXPECT_EQ(fingerprint(original, all), fingerprint(path("link.h5"), all));
    }
    const std::string before = fingerprint(original), all_before = fingerprint(original, true);
    EXPECT_TRUE(all_before.starts_with(before)) << "files are the same whether every byte was hashed or not";
    values[777] = 1e6;
    write("x.h5", storage);
    EXPECT_NE(fingerprint(original, true), all_before) << "a full hash sees every value";
    values[1] += 1;  // among the first bytes, and in the first chunk
    write("x.h5", storage);
    EXPECT_NE(fingerprint(original), before);
    values[1] -= 1;
    values[19999] += 1;
    write("x.h5", storage);
    EXPECT_NE(fingerprint(original), before);
    values[19999] -= 1;
  }
}

}  // namespace
}  // namespace bunchtrain::data
