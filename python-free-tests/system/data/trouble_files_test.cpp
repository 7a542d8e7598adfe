// SPDX-License-Identifier: Apache-2.0
// Files from public bug reports (trouble/LOG.md of the test data): read as h5py reads them, or refused with
// file, dataset, rows and a way out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <numeric>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "storage/opened_file.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string trouble(const std::string& file) { return BUNCHTRAIN_TEST_DATA "/trouble/" + file; }

StoredDataset open(const std::string& file, const std::string& name) {
  return OpenedFile(trouble(file)).open(name, false);
}

std::string refusal(const std::string& file, const std::string& name) {
  try {
    open(file, name);
  } catch (const Error& error) {
    return error.what();
  }
  return "no exception";
}

/// Sum of a column that is not NaN; of all values, or of a member.
double sum(const StoredDataset& dataset, const std::string& member = "") {
  const auto& layout = dataset.layout();
  const std::size_t elements = layout.row_bytes() / layout.element_bytes;
  ColumnLayout column{
      .type = {}, .row_bytes = layout.row_bytes(), .slot_bytes = layout.element_bytes, .slots = elements};
  if (member.empty()) {
    column.type = layout.type.value();
  } else {
    column.type = layout.find(member)->type.value();
    column.offset = layout.find(member)->offset;
  }
  std::vector<double> values(layout.rows() * elements);
  dataset.read(0, layout.rows(), [&](std::size_t first, std::size_t rows, const std::byte* bytes) {
    widen(column, bytes, rows, values.data() + first * elements);
  });
  return std::accumulate(values.begin(), values.end(), 0.0,
                         [](double total, double x) { return std::isnan(x) ? total : total + x; });
}

TEST(TroubleFilesTest, SourcesOfVirtualDatasetsThatAreMissing) {
  for (const char* name : {"X", "y"})
    EXPECT_THAT(refusal("vds_source_missing/vds.h5", name),
                AllOf(HasSubstr("vds.h5, dataset '" + std::string(name) + "': rows 60 to 119"),
                      HasSubstr("p1.h5 is not there"), HasSubstr("missing = \"fill\"")));
}

TEST(TroubleFilesTest, RowsNeverWritten) {
  for (const char* name : {"X", "y"})
    EXPECT_THAT(refusal("rows_never_written.h5", name), HasSubstr("rows 60 to 119 were never written"));
  for (const char* name : {"particle_features", "jet_features", "jet_label"})
    EXPECT_THAT(refusal("unwritten_small_chunks.h5", name),
                HasSubstr("rows 20 to 1999999 were never written"));
}

TEST(TroubleFilesTest, LzfOfH5py) {
  const auto jets = open("atlas_lzf.h5", "jets");
  EXPECT_EQ(jets.path_text(), "pread + own inflate");
  EXPECT_NEAR(sum(jets, "pt"), 4821806.900390625, 1e-6);
  EXPECT_NEAR(sum(jets, "eta"), 91.79717623488978, 1e-10);
  EXPECT_NEAR(sum(jets, "mass"), 777674.2436523438, 1e-6);
  EXPECT_EQ(sum(jets, "flavour_label"), 120);
  EXPECT_EQ(sum(jets, "eventNumber"), 98956046502251.0);
  EXPECT_EQ(sum(jets, "is_good"), 90);
  const auto tracks = open("atlas_lzf.h5", "tracks");
  EXPECT_NEAR(sum(tracks, "pt"), 4437.4210205078125, 1e-9);
  EXPECT_NEAR(sum(tracks, "d0"), 1.407398521900177, 1e-12);
  EXPECT_EQ(sum(tracks, "valid"), 1323);
}

TEST(TroubleFilesTest, BitFieldsOfPyTables) { EXPECT_EQ(sum(open("bool_as_bitfield.h5", "jet_label")), 20); }

TEST(TroubleFilesTest, ManySmallChunksOfTheNewestFormat) {
  const auto labels = open("chunks_21000_v110.h5", "y");
  EXPECT_THAT(labels.path_text(), HasSubstr("pread of chunks"));
  EXPECT_EQ(sum(labels), 11340);
  EXPECT_NEAR(sum(open("chunks_21000_v110.h5", "X")), 4201961.448163334, 1e-5);
}

TEST(TroubleFilesTest, SoftAndExternalLinksAndAbsoluteNames) {
  for (const char* file : {"soft_links.h5", "external_links/links.h5", "jets90.h5"})
    for (const std::string slash : {"", "/"}) {
      EXPECT_NEAR(sum(open(file, slash + "particle_features")), 2074.7647481230615, 1e-9) << file;
      EXPECT_NEAR(sum(open(file, slash + "jet_features")), 7795.27831780212, 1e-9) << file;
      EXPECT_EQ(sum(open(file, slash + "jet_label")), 120) << file;
    }
  const auto plain = JetDataset({.files = {trouble("jets90.h5")}, .card = "jetnet"}).all()->read(0).tensors;
  for (const char* file : {"soft_links.h5", "external_links/links.h5"}) {
    const JetDataset jets({.files = {trouble(file)}, .card = "jetnet"});
    EXPECT_TRUE(jets.all()->read(0).tensors["features"].equal(plain["features"])) << file;
  }
  const JetDataset by_absolute_names(
      {.files = {trouble("jets90.h5")}, .card = trouble("absolute_names.toml")});
  EXPECT_TRUE(by_absolute_names.all()->read(0).tensors["features"].equal(plain["features"]));
}

TEST(TroubleFilesTest, FilesOfANewerHdf5) {
  const auto contents = list_contents(trouble("hdf5_2_latest.h5"));
  ASSERT_EQ(contents.size(), 3U);
  for (const auto& dataset : contents) EXPECT_THAT(dataset.unreadable, HasSubstr("newer HDF5"));
  EXPECT_THAT(refusal("hdf5_2_latest.h5", "jet_label"),
              AllOf(HasSubstr("hdf5_2_latest.h5, dataset 'jet_label': cannot be opened: bad version number"),
                    HasSubstr("python3 -c \"import h5py"), HasSubstr("'v110'")));
}

TEST(TroubleFilesTest, ForeignFormats) {
  const auto said = [](const std::string& file) {
    try {
      OpenedFile{trouble(file)};
    } catch (const DataError& error) {
      return error.message();
    }
    return std::string("no exception");
  };
  EXPECT_THAT(said("jets.root"), AllOf(HasSubstr("but a ROOT file"), HasSubstr("uproot")));
  EXPECT_THAT(said("jets.npz"), AllOf(HasSubstr("NumPy arrays (npz)"), HasSubstr("numpy.load")));
}

// pandas' table format under any key, and the blocks of its fixed format: plain datasets to a card.
TEST(TroubleFilesTest, TablesOfAnyKey) {
  const std::string card = testing::TempDir() + "/table_of_another_key.toml";
  std::ofstream(card) << R"toml(card = 1
[[read.part]]
from = "df/table:values_block_0[0:800]"
columns = ["e", "px", "py", "pz"]
[[read.jet]]
from = "df/table:values_block_1[1:2]"
columns = ["top"]
[particles]
mask = "part.e > 0"
[inputs]
points = ["part.px", "part.py"]
features = ["part.e"]
[label]
of = "jet.top"
classes = [["qcd", 0], ["top", 1]]
)toml";
  const JetDataset jets({.files = {trouble("table_of_another_key.h5")}, .card = card});
  EXPECT_EQ(jets.size(), 60);
  EXPECT_THAT(jets.all()->summary().class_counts, testing::ElementsAre(32, 28));
}

TEST(TroubleFilesTest, ACopyAndALinkHaveTheIdentityOfTheirFile) {
  const std::string copy = testing::TempDir() + "/copy_of_jets90.h5", link = testing::TempDir() + "/link.h5";
  std::filesystem::copy_file(trouble("jets90.h5"), copy, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::remove(link);
  std::filesystem::create_symlink(copy, link);
  const auto identity = [](const std::string& file) {
    return JetDataset({.files = {file}, .card = "jetnet"}).all()->summary().files.at(0);
  };
  const auto original = identity(trouble("jets90.h5"));
  EXPECT_EQ(original.path, trouble("jets90.h5"));
  EXPECT_EQ(identity(copy).fingerprint, original.fingerprint);
  EXPECT_EQ(identity(link).fingerprint, original.fingerprint);
  EXPECT_NE(identity(trouble("jets65.h5")).fingerprint, original.fingerprint);
  std::filesystem::remove(copy);
  std::filesystem::remove(link);
}

}  // namespace
}  // namespace bunchtrain::data
