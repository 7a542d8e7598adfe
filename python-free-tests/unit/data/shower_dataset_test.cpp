// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/shower_dataset.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/detail/notices.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "hdf5_samples.hpp"

namespace bunchtrain::data {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

/// Showers of 10 + row GeV whose sum is 2 % of that, in four cells; file unit GeV x `scale`. Row 3 is empty.
struct ShowerFileOnDisk {
  std::int64_t rows = 60;
  std::vector<std::int64_t> grid = {25, 25, 25};
  std::int64_t chunk = 8;
  double scale = 1;
  double energy_unit = 1;
  std::int64_t first_row = 0;
  bool as_target = false;
  bool with_energy = true;
  bool with_angles = false;

  at::Tensor energies() const { return 10 + at::arange(first_row, first_row + rows, at::kFloat); }
  at::Tensor cells() const {
    at::Tensor cells = at::zeros({rows, grid[0], grid[1], grid[2]}, at::TensorOptions().dtype(at::kFloat));
    const at::Tensor each = energies() * (0.02 / 4 * scale);
    for (std::int64_t i = 0; i < 4; ++i)
      cells.select(3, 5 + i).select(2, grid[1] / 2).select(1, grid[0] / 2).copy_(each);
    cells[3].zero_();
    return cells;
  }
  void write(const std::string& path, const at::Tensor& image) const {
    Hdf5Writer writer(path);
    writer.create_dataset("ECAL", image, chunk);
    if (as_target)
      writer.create_dataset("target", at::stack({at::full({rows}, 11.0f), energies()}, 1), rows);
    else if (with_energy)
      writer.create_dataset("energy", energies() * energy_unit, rows);
    if (with_angles) {
      writer.create_dataset("theta", at::full({rows}, 1.25f), rows);
      writer.create_dataset("mtheta", at::full({rows}, 1.5f), rows);
    }
    writer.commit();
  }
  void write(const std::string& path) const { write(path, cells()); }
};

class Lines final : public LogSink {
 public:
  void write(LogLevel, std::string_view text) override {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(text);
  }
  const std::vector<std::string>& all() const { return lines_; }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

class ShowerDatasetTest : public Hdf5FilesTest {
 protected:
  std::string error_of(const ShowerDatasetOptions& options) {
    try {
      ShowerDataset dataset(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  void overwrite(const std::string& file_name, const char* dataset_name, const at::Tensor& values) const {
    const hid_t file = H5Fopen(path(file_name).c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t dataset = H5Dopen2(file, dataset_name, H5P_DEFAULT);
    EXPECT_GE(
        H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.const_data_ptr<float>()),
        0);
    H5Dclose(dataset);
    H5Fclose(file);
  }
  std::string error_of(const ShowerFileOnDisk& file, const at::Tensor& cells,
                       const std::string& card = "lcd_fixed") {
    file.write(path("bad.h5"), cells);
    return error_of({.files = {path("bad.h5")}, .card = card, .threads = 2});
  }
};

at::Tensor read_all(const DatasetPtr& dataset, const std::string& name) {
  at::Tensor all;
  for (std::size_t range = 0; range < dataset->ranges().size(); ++range) {
    const auto block = dataset->read(range);
    const auto& part = block.tensors[name];
    if (!all.defined()) {
      auto sizes = part.sizes().vec();
      sizes[0] = dataset->size();
      all = at::zeros(sizes, part.options());
    }
    if (block.range.count > 0) all.narrow(0, block.range.first, block.range.count).copy_(part);
  }
  return all;
}

TEST_F(ShowerDatasetTest, ReadsImagesEnergiesAndSums) {
  const ShowerFileOnDisk file;
  file.write(path("a.h5"));
  const ShowerDataset showers({.files = {path("a.h5")}, .threads = 2});
  EXPECT_EQ(showers.card().name, "lcd_fixed");
  EXPECT_EQ(showers.size(), 59);  // without the empty one
  EXPECT_EQ(showers.lowest_energy(), 10);
  EXPECT_EQ(showers.highest_energy(), 69);
  EXPECT_NEAR(showers.overview().sampling_fraction, 0.02, 1e-6);
  EXPECT_EQ(showers.overview().showers, 60);
  const auto all = showers.all();
  EXPECT_EQ(all->summary().description, "59 of 60 showers in a.h5, card lcd_fixed");
  EXPECT_EQ(all->summary().card, features::to_toml(showers.card()));
  EXPECT_TRUE(all->summary().classes.empty());
  EXPECT_THAT(all->summary().paths, Contains("ECAL: pread + own inflate"));
  const at::Tensor image = read_all(all, "image"), energy = read_all(all, "energy"),
                   sum = read_all(all, "sum");
  EXPECT_EQ(image.sizes(), (at::IntArrayRef{59, 25, 25, 25}));
  EXPECT_TRUE(image[0].equal(file.cells()[0]));
  EXPECT_TRUE(image[3].equal(file.cells()[4]));
  EXPECT_TRUE(image[58].equal(file.cells()[59]));
  EXPECT_EQ(energy[3].item<float>(), 14);
  EXPECT_TRUE(sum.allclose(energy * 0.02));
}

/// Bytes that are fetched for all ranges.
std::uint64_t planned_bytes(const DatasetPtr& dataset) {
  std::uint64_t bytes = 0;
  for (std::size_t range = 0; range < dataset->ranges().size(); ++range)
    bytes += dataset->plan(range).bytes();
  return bytes;
}

TEST_F(ShowerDatasetTest, ASlabIsReadAloneWhereTheLayoutAllows) {
  const ShowerFileOnDisk showers;
  const at::Tensor cells = showers.cells(), energies = showers.energies();
  const auto deflate = [](hid_t create) { H5Pset_deflate(create, 4); };
  struct Layout {
    StorageChoice storage;
    double least, most;  ///< part of all bytes that is fetched for 10 of 25 cells
  };
  for (const auto& [storage, least, most] :
       {Layout{{"contiguous"}, 0.4, 0.4}, Layout{{"raw chunks", {8, 25, 25, 25}}, 0.4, 0.4},
        Layout{{"raw chunks of five cells", {7, 5, 25, 25}}, 0.4, 0.4},
        Layout{{"raw chunks of four cells, full at the edge", {7, 4, 13, 25}}, 3.0 / 7, 3.0 / 7},
        Layout{{"chunks of seven cells", {8, 7, 25, 9}, deflate}, 0.3, 0.9},
        Layout{{"chunks of whole showers", {8, 25, 25, 25}, deflate}, 1, 1}}) {
    SCOPED_TRACE(storage.name);
    const hid_t file = create_file(path("a.h5"));
    write_dataset(file, "ECAL", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {60, 25, 25, 25},
                  cells.const_data_ptr<float>(), storage);
    write_dataset(file, "energy", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, {60}, energies.const_data_ptr<float>());
    H5Fclose(file);
    const ShowerDatasetOptions options{.files = {path("a.h5")}, .card = "lcd_fixed"};
    ShowerDatasetOptions of_slab = options;
    of_slab.slab_begin = 10;
    of_slab.slab_end = 20;
    const auto whole = ShowerDataset(options).all(), slab = ShowerDataset(of_slab).all();
    EXPECT_TRUE(read_all(slab, "image").equal(read_all(whole, "image").narrow(1, 10, 10)));
    EXPECT_TRUE(read_all(slab, "sum").equal(read_all(whole, "sum")));
    EXPECT_EQ(slab->summary().fingerprint, whole->summary().fingerprint);
    const double share = static_cast<double>(planned_bytes(slab)) / static_cast<double>(planned_bytes(whole));
    EXPECT_GE(share, least - 1e-12);
    EXPECT_LE(share, most + 1e-12);

    DataLoader wholes(whole, {.global_batch = 16}), slabs(slab, {.global_batch = 16});
    for (auto batch = wholes.next(); batch; batch = wholes.next()) {
      const auto part = slabs.next();
      ASSERT_TRUE(part.has_value());
      EXPECT_TRUE((*part)["image"].equal((*batch)["image"].narrow(1, 10, 10)));
    }
    EXPECT_FALSE(slabs.next().has_value());
    EXPECT_NEAR(static_cast<double>(slabs.statistics().bytes_fetched) /
                    static_cast<double>(wholes.statistics().bytes_fetched),
                share, 1e-9);
  }
}

TEST_F(ShowerDatasetTest, RefusesASlabThatIsNone) {
  ShowerFileOnDisk{}.write(path("a.h5"));
  EXPECT_THAT(error_of({.files = {path("a.h5")}, .slab_begin = 20, .slab_end = 26}),
              HasSubstr("a range of the 25 cells of card 'lcd_fixed'"));
  EXPECT_THAT(error_of({.files = {path("a.h5")}, .slab_begin = 5, .slab_end = 5}),
              HasSubstr("cells 5 to 5 along x"));
}

TEST_F(ShowerDatasetTest, OlderFilesHaveTheEnergyInTheTarget) {
  ShowerFileOnDisk file;
  file.as_target = true;
  file.write(path("old.h5"));
  const ShowerDataset showers({.files = {path("old.h5")}});
  EXPECT_EQ(showers.card().name, "lcd_fixed");
  EXPECT_EQ(showers.lowest_energy(), 10);
}

TEST_F(ShowerDatasetTest, AngleImagesAreScaledAndRaised) {
  const ShowerFileOnDisk file{.rows = 20, .grid = {51, 51, 25}, .scale = 50, .with_angles = true};
  file.write(path("angle.h5"));
  // 2 % of less than 10 GeV would be below the published cut of 0.2 GeV; the first shower is just there.
  const ShowerDataset showers({.files = {path("angle.h5")}});
  EXPECT_EQ(showers.card().name, "lcd_angle");
  EXPECT_NEAR(static_cast<double>(showers.size()), 18, 1);
  const auto all = showers.all();
  const at::Tensor image = read_all(all, "image");
  const at::Tensor expected = file.cells()[19].pow(0.85);
  EXPECT_TRUE(image[image.size(0) - 1].allclose(expected));
  EXPECT_NEAR(read_all(all, "sum")[image.size(0) - 1].item<float>(), 29 * 0.02 * 50, 1e-3);
  EXPECT_EQ(read_all(all, "theta")[0].item<float>(), 1.25f);
  EXPECT_EQ(read_all(all, "measured_theta")[0].item<float>(), 1.5f);
  EXPECT_EQ(showers.overview().lowest_theta, 1.25);

  const ShowerDataset physical({.files = {path("angle.h5")}, .physical = true});
  const at::Tensor gev = read_all(physical.all(), "image");
  EXPECT_TRUE(gev[gev.size(0) - 1].allclose(file.cells()[19] / 50));
  EXPECT_NEAR(read_all(physical.all(), "sum")[gev.size(0) - 1].item<float>(), 29 * 0.02, 1e-5);
  EXPECT_NE(physical.all()->summary().fingerprint, all->summary().fingerprint);
}

TEST_F(ShowerDatasetTest, MissingAnglesAreMeasured) {
  const ShowerFileOnDisk file{.rows = 12, .grid = {51, 51, 25}, .scale = 50, .first_row = 40};
  file.write(path("noangle.h5"));
  const auto lines = std::make_shared<Lines>();
  const ShowerDataset showers({.files = {path("noangle.h5")}, .threads = 2, .logger = Logger(lines)});
  EXPECT_EQ(showers.card().name, "lcd_angle");
  EXPECT_THAT(lines->all(), Contains(HasSubstr("measured from the images")));
  EXPECT_THAT(lines->all(), Contains(AllOf(HasSubstr("looked at 12 showers"), HasSubstr("1 left out"))));
  const at::Tensor theta = read_all(showers.all(), "theta");
  EXPECT_TRUE(theta.allclose(at::full_like(theta, std::acos(-1.0) / 2), 1e-4, 1e-4));
  EXPECT_TRUE(theta.equal(read_all(showers.all(), "measured_theta")));
}

TEST_F(ShowerDatasetTest, ShowersThatAreJudgedAreWarnedOfNotRefused) {
  const ShowerFileOnDisk file;
  file.write(path("candidate.h5"), file.cells() * 50);
  const auto lines = std::make_shared<Lines>();
  const ShowerDataset showers(
      {.files = {path("candidate.h5")}, .card = "lcd_fixed", .select = false, .logger = Logger(lines)});
  EXPECT_EQ(showers.all()->size(), 60);
  EXPECT_THAT(lines->all(), Contains(AllOf(HasSubstr("candidate.h5"), HasSubstr("look like GeV x 50"))));
}

TEST_F(ShowerDatasetTest, OneFileIsSplitByShower) {
  ShowerFileOnDisk{.rows = 300}.write(path("a.h5"));
  const ShowerDataset showers({.files = {path("a.h5")}});
  const auto split = showers.split({.valid_fraction = 0.2, .seed = 3});
  EXPECT_EQ(split.train->size() + split.valid->size(), 299);
  EXPECT_NEAR(static_cast<double>(split.valid->size()), 60, 25);
  const at::Tensor train = read_all(split.train, "energy"), valid = read_all(split.valid, "energy");
  std::set<float> seen;
  for (const auto* part : {&train, &valid})
    for (std::int64_t i = 0; i < part->size(0); ++i) seen.insert((*part)[i].item<float>());
  EXPECT_EQ(seen.size(), 299u);
  EXPECT_THAT(split.train->summary().description, HasSubstr("train: "));
  EXPECT_NE(split.train->summary().fingerprint, split.valid->summary().fingerprint);
}

TEST_F(ShowerDatasetTest, SeveralFilesAreSplitByFile) {
  std::vector<std::string> files;
  for (int i = 0; i < 5; ++i) {
    files.push_back(path("f" + std::to_string(i) + ".h5"));
    ShowerFileOnDisk{.rows = 20, .first_row = 20 * i}.write(files.back());
  }
  const ShowerDataset showers({.files = files});
  const auto split = showers.split({.valid_fraction = 0.1, .seed = 3});
  EXPECT_EQ(split.train->size(), 4 * 19);
  EXPECT_EQ(split.valid->size(), 19);
  const at::Tensor valid = read_all(split.valid, "energy");
  EXPECT_EQ(std::floor((valid.min().item<float>() - 10) / 20),
            std::floor((valid.max().item<float>() - 10) / 20));
  EXPECT_THAT(split.train->summary().description, HasSubstr("76 of 100 showers in 5 files"));

  auto card = showers.card();
  card.split_by_file = false;
  const auto mixed = ShowerDataset({.files = files}, card).split({.valid_fraction = 0.5, .seed = 3});
  const at::Tensor half = read_all(mixed.valid, "energy");
  EXPECT_LT(half.min().item<float>(), 30);
  EXPECT_GT(half.max().item<float>(), 90);
}

TEST_F(ShowerDatasetTest, ALoaderDeliversEveryShowerOnce) {
  ShowerFileOnDisk{.rows = 100}.write(path("a.h5"));
  const auto all = ShowerDataset({.files = {path("a.h5")}}).all();
  DataLoader loader(all, {.global_batch = 16, .threads = 2, .prefetch_bytes = 2 << 20});
  std::multiset<float> seen;
  for (const Batch& batch : loader) {
    EXPECT_EQ(batch["image"].size(0), batch.size());
    EXPECT_TRUE(batch["image"].sum({1, 2, 3}).allclose(batch["sum"]));
    for (std::int64_t i = 0; i < batch.size(); ++i) seen.insert(batch["energy"][i].item<float>());
  }
  EXPECT_EQ(seen.size(), 99u);
  EXPECT_EQ(std::set<float>(seen.begin(), seen.end()).size(), 99u);
}

TEST_F(ShowerDatasetTest, ResumesOnlyWithTheSameShowers) {
  ShowerFileOnDisk{.rows = 40}.write(path("a.h5"));
  ShowerFileOnDisk{.rows = 40, .first_row = 1}.write(path("b.h5"));
  const auto fingerprint = [&](const std::string& file) {
    return ShowerDataset({.files = {path(file)}}).all()->summary().fingerprint;
  };
  std::filesystem::copy(path("a.h5"), path("copy.h5"));
  EXPECT_EQ(fingerprint("a.h5"), fingerprint("copy.h5"));
  EXPECT_NE(fingerprint("a.h5"), fingerprint("b.h5"));
}

TEST_F(ShowerDatasetTest, LayersOfTheirOwnAreJoined) {
  Hdf5Writer writer(path("calogan.h5"));
  const auto layer = [](std::int64_t rows, std::int64_t x, std::int64_t y, double value) {
    return at::full({rows, x, y}, value, at::TensorOptions().dtype(at::kDouble));
  };
  writer.create_dataset("layer_0", layer(10, 3, 96, 1), 4);
  writer.create_dataset("layer_1", layer(10, 12, 12, 2), 10);
  writer.create_dataset("layer_2", layer(10, 12, 6, 3), 3);
  writer.create_dataset("energy", at::full({10, 1}, 1.0, at::TensorOptions().dtype(at::kDouble)), 10);
  writer.commit();
  const ShowerDataset showers({.files = {path("calogan.h5")}});
  EXPECT_EQ(showers.card().name, "calogan");
  const at::Tensor image = read_all(showers.all(), "image");
  EXPECT_EQ(image.sizes(), (at::IntArrayRef{10, 504}));
  EXPECT_TRUE(image.narrow(1, 0, 288).allclose(at::full({10, 288}, 1e-3f)));
  EXPECT_TRUE(image.narrow(1, 288, 144).allclose(at::full({10, 144}, 2e-3f)));
  EXPECT_TRUE(image.narrow(1, 432, 72).allclose(at::full({10, 72}, 3e-3f)));
}

TEST_F(ShowerDatasetTest, FlatVoxelsAreFolded) {
  Hdf5Writer writer(path("challenge.h5"));
  at::Tensor voxels = at::zeros({6, 6480}, at::TensorOptions().dtype(at::kFloat));
  voxels.select(1, 16 * 9 + 9 + 2).fill_(800);
  voxels.select(1, 7).fill_(0.0151f);  // below 15.15 keV
  writer.create_dataset("showers", voxels, 2);
  writer.create_dataset("incident_energies", at::full({6, 1}, 1000.0f), 6);
  writer.commit();
  const ShowerDataset showers({.files = {path("challenge.h5")}});
  EXPECT_EQ(showers.card().name, "calochallenge_2");
  const at::Tensor image = read_all(showers.all(), "image");
  EXPECT_EQ(image.sizes(), (at::IntArrayRef{6, 45, 16, 9}));
  EXPECT_FLOAT_EQ(image[5][1][1][2].item<float>(), 0.8f);
  EXPECT_EQ(image[5][0][0][7].item<float>(), 0);
  EXPECT_EQ(showers.lowest_energy(), 1);
}

TEST_F(ShowerDatasetTest, RefusesCellsThatCannotBe) {
  const ShowerFileOnDisk file;
  at::Tensor cells = file.cells();
  cells[41][2][3][4].fill_(-0.5);
  cells[52][2][3][4].fill_(-0.5);
  EXPECT_THAT(error_of(file, cells), AllOf(HasSubstr("bad.h5, row 41"), HasSubstr("1 cells are negative"),
                                           HasSubstr("2 of 60 showers")));
  cells = file.cells();
  cells[7].fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(error_of(file, cells), AllOf(HasSubstr("row 7"), HasSubstr("15625 cells are NaN or infinite")));
}

// As empty showers they would silently be left out.
TEST_F(ShowerDatasetTest, ShowersNeverWrittenAreRefusedOrCounted) {
  const ShowerFileOnDisk showers;
  showers.write(path("part.h5"));
  const hid_t file = H5Fopen(path("part.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const std::vector<hsize_t> shape = {60, 25, 25, 25}, half = {30, 25, 25, 25};
  H5Ldelete(file, "ECAL", H5P_DEFAULT);
  write_dataset(file, "ECAL", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, shape, nullptr, {"", {10, 25, 25, 25}});
  const hid_t cells = H5Dopen2(file, "ECAL", H5P_DEFAULT), space = H5Dget_space(cells);
  const std::vector<hsize_t> origin = {0, 0, 0, 0};
  H5Sselect_hyperslab(space, H5S_SELECT_SET, origin.data(), nullptr, half.data(), nullptr);
  const hid_t memory = H5Screate_simple(4, half.data(), nullptr);
  H5Dwrite(cells, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, showers.cells().const_data_ptr());
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(cells);
  H5Fclose(file);
  EXPECT_THAT(error_of({.files = {path("part.h5")}, .card = "lcd_fixed"}),
              AllOf(HasSubstr("part.h5, dataset 'ECAL': rows 30 to 59 were never written"),
                    HasSubstr("missing = \"fill\"")));
  auto card = features::load_shower_card("lcd_fixed");
  card.fill_missing = true;
  const ShowerDataset filled({.files = {path("part.h5")}, .hash_data = true}, card);
  EXPECT_EQ(filled.all()->summary().rows.filled, 30);
  EXPECT_EQ(filled.size(), 29) << "row 3 is empty";
  EXPECT_EQ(filled.all()->summary().files.at(0).path, path("part.h5"));
}

TEST_F(ShowerDatasetTest, RefusesSumsThatOverflow) {
  const ShowerFileOnDisk file;
  at::Tensor cells = file.cells();
  cells[9].fill_(3e38f);  // each finite
  EXPECT_THAT(error_of(file, cells),
              AllOf(HasSubstr("bad.h5, row 9"), HasSubstr("more than single precision holds"),
                    HasSubstr("1 of 60 showers")));
}

TEST_F(ShowerDatasetTest, RefusesEnergiesAndAnglesThatAreNotFinite) {
  for (const float value : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    ShowerFileOnDisk file{.rows = 20, .grid = {51, 51, 25}, .with_angles = true};
    for (const char* name : {"energy", "theta", "mtheta"}) {
      at::Tensor values = std::string(name) == "energy" ? file.energies() : at::full({20}, 1.25f);
      values[13] = value;
      file.write(path("odd.h5"));
      overwrite("odd.h5", name, values);
      EXPECT_THAT(error_of({.files = {path("odd.h5")}, .card = "lcd_angle"}),
                  HasSubstr("odd.h5, row 13: the"))
          << name;
    }
  }
}

TEST_F(ShowerDatasetTest, CountsEmptyShowers) {
  ShowerFileOnDisk().write(path("showers.h5"));
  const ShowerDataset showers({.files = {path("showers.h5")}, .card = "lcd_fixed"});
  const auto& summary = showers.all()->summary();
  EXPECT_EQ(summary.samples, 59);
  EXPECT_EQ(summary.rows.stored, 60);
  EXPECT_EQ(summary.rows.empty, 1);
  EXPECT_THAT(notices(summary, "showers"),
              testing::ElementsAre("1 of 60 showers are left out because they hold no energy"));
}

TEST_F(ShowerDatasetTest, RefusesEmptyShowers) {
  const ShowerFileOnDisk file;
  EXPECT_THAT(
      error_of(file, file.cells() * 1e-9),
      AllOf(HasSubstr("bad.h5"), HasSubstr("none of the 60 showers"), HasSubstr("data::list_contents")));
}

TEST_F(ShowerDatasetTest, RefusesAnotherGridAndNamesTheCard) {
  const ShowerFileOnDisk file{.rows = 8, .grid = {51, 51, 25}, .scale = 50, .first_row = 40};
  EXPECT_THAT(error_of(file, file.cells()), AllOf(HasSubstr("ECAL has shape [8, 51, 51, 25]"),
                                                  HasSubstr("25 x 25 x 25"), HasSubstr("card = lcd_angle")));
  const ShowerFileOnDisk odd{.rows = 8, .grid = {10, 10, 10}};
  EXPECT_THAT(error_of(odd, odd.cells(), "auto"),
              AllOf(HasSubstr("no built-in card fits"), HasSubstr("lcd_fixed")));
}

TEST_F(ShowerDatasetTest, RefusesAMissingEnergy) {
  ShowerFileOnDisk file;
  file.with_energy = false;
  EXPECT_THAT(error_of(file, file.cells()),
              AllOf(HasSubstr("energy or target[1] is missing"), HasSubstr("ECAL [60, 25, 25, 25] float32")));
  EXPECT_THAT(error_of(file, file.cells(), "no_such_card"), HasSubstr("lcd_fixed"));
}

TEST_F(ShowerDatasetTest, SaysThatEnergiesLookLikeMev) {
  ShowerFileOnDisk file;
  file.energy_unit = 1000;
  EXPECT_THAT(error_of(file, file.cells()), AllOf(HasSubstr("bad.h5"), HasSubstr("energies look like MeV"),
                                                  HasSubstr("2e-05"), HasSubstr("primary.energy")));
  file.energy_unit = 1;
  EXPECT_THAT(error_of(file, file.cells() * 1000), HasSubstr("cells look like MeV"));
  EXPECT_THAT(error_of(file, file.cells() * 50), HasSubstr("cells look like GeV x 50"));
  file.energy_unit = -1;
  EXPECT_THAT(error_of(file, file.cells()),
              AllOf(HasSubstr("row 0"), HasSubstr("primary energy is -10 GeV")));
}

TEST_F(ShowerDatasetTest, RefusesATruncatedFile) {
  ShowerFileOnDisk().write(path("bad.h5"));
  std::filesystem::resize_file(path("bad.h5"), std::filesystem::file_size(path("bad.h5")) / 2);
  EXPECT_THAT(error_of({.files = {path("bad.h5")}}), AllOf(HasSubstr("bad.h5"), HasSubstr("truncated")));
}

TEST_F(ShowerDatasetTest, RefusesASplitWithAnEmptyPart) {
  ShowerFileOnDisk{.rows = 5}.write(path("a.h5"));
  const ShowerDataset showers({.files = {path("a.h5")}});
  EXPECT_THROW(showers.split({.valid_fraction = 0.0001, .seed = 1}), ConfigError);
  EXPECT_THROW(showers.split({.valid_fraction = 1.5}), ConfigError);
}

TEST_F(ShowerDatasetTest, EveryMisfitOfCardAndFileIsNamed) {
  const at::Tensor cells = ShowerFileOnDisk{}.cells(), energy = ShowerFileOnDisk{}.energies();
  const auto written = [&](const at::Tensor& image, const at::Tensor& primary) {
    Hdf5Writer writer(path("bad.h5"));
    writer.create_dataset("ECAL", image, 8);
    writer.create_dataset("energy", primary, 8);
    writer.commit();
    return error_of({.files = {path("bad.h5")}, .card = "lcd_fixed"});
  };
  EXPECT_THAT(written(cells, at::stack({energy, energy}, 1)),
              AllOf(HasSubstr("bad.h5"), HasSubstr("[60, 2]"),
                    HasSubstr("the card reads one number per shower as energy")));
  EXPECT_THAT(written(cells, energy.narrow(0, 0, 59)),
              AllOf(HasSubstr("bad.h5"), HasSubstr("energy has 59 rows, other datasets have 60")));
  EXPECT_THAT(
      written(cells.narrow(0, 0, 0), energy.narrow(0, 0, 0)),
      AllOf(HasSubstr("bad.h5, dataset 'ECAL'"), HasSubstr("is empty (0 showers); leave the file out")));

  const hid_t file = create_file(path("text.h5"));
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 1);
  write_dataset(file, "ECAL", text, text, {2, 25, 25, 25}, std::string(2 * 25 * 25 * 25, 'x').data());
  write_floats(file, "energy", {2}, {10, 20});
  H5Tclose(text);
  H5Fclose(file);
  EXPECT_THAT(error_of({.files = {path("text.h5")}, .card = "lcd_fixed"}),
              AllOf(HasSubstr("text.h5"), HasSubstr("ECAL holds no numbers")));
}

}  // namespace
}  // namespace bunchtrain::data
