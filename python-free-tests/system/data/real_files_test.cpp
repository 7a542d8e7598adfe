// SPDX-License-Identifier: Apache-2.0
// The public layouts as they lie on disk: rows, labels, features against an independent double-precision
// calculation from H5Dread, and the bytes of the decode path against H5Dread for all rows.
#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {
namespace {

using testing::ElementsAre;

std::string jets(const std::string& file) { return BUNCHTRAIN_TEST_DATA "/jets/" + file; }

/// All values of a dataset (or of one member of a compound) as doubles, by H5Dread alone.
std::vector<double> read_doubles(const std::string& path, const char* name, const char* member = nullptr,
                                 hsize_t values = 1) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  const auto points = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space));
  std::vector<double> out(points * values);
  hid_t type = H5Tcopy(H5T_NATIVE_DOUBLE);
  if (member != nullptr) {
    const hid_t array = H5Tarray_create2(H5T_NATIVE_DOUBLE, 1, &values);
    type = H5Tcreate(H5T_COMPOUND, sizeof(double) * values);
    H5Tinsert(type, member, 0, array);
  }
  EXPECT_GE(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data()), 0);
  H5Tclose(type);
  H5Sclose(space);
  H5Dclose(dataset);
  H5Fclose(file);
  return out;
}

struct Particle {
  double px, py, pz, e;
};

double wrap(double phi) { return std::remainder(phi, 2 * std::numbers::pi); }
double clip(double x) { return std::clamp(x, -5.0, 5.0); }

/// ln pT, ln E, ln pT/jet, ln E/jet, deltaR, deta, dphi of a particle in a jet, as the
/// ParticleNet paper transforms them.
std::vector<double> kinematics(const Particle& p, double jet_pt, double jet_e, double deta, double dphi) {
  const double pt = std::hypot(p.px, p.py);
  return {clip((std::log(pt) - 1.7) * 0.7),
          clip((std::log(p.e) - 2.0) * 0.7),
          clip((std::log(pt / jet_pt) + 4.7) * 0.7),
          clip((std::log(p.e / jet_e) + 4.7) * 0.7),
          clip((std::hypot(deta, dphi) - 0.2) * 4.0),
          deta,
          dphi};
}

/// Sampled batches of a dataset, sample by sample, in stored order.
struct Row {
  std::int64_t row;
  at::Tensor features, points, mask;
  std::int64_t label;
};

std::vector<Row> sampled_rows(const JetDataset& dataset) {
  std::vector<Row> rows;
  const auto all = dataset.all();
  for (std::size_t range = 0; range < all->ranges().size(); range += 7) {
    const auto block = all->read(range);
    for (std::int64_t i = 0; i < block.range.count; i += 11)
      rows.push_back({dataset.row_of(block.range.first + i).row, block.tensors["features"][i],
                      block.tensors["points"][i], block.tensors["mask"][i],
                      block.tensors["label"][i].item<std::int64_t>()});
  }
  return rows;
}

void expect_features(const Row& row, std::int64_t slot, const std::vector<double>& expected,
                     std::span<const int> columns) {
  ASSERT_TRUE(row.mask[slot].item<bool>()) << "row " << row.row << ", slot " << slot;
  for (std::size_t i = 0; i < columns.size(); ++i)
    ASSERT_NEAR(row.features[slot][columns[i]].item<float>(), expected[i], 2e-4)
        << "row " << row.row << ", slot " << slot << ", feature " << columns[i];
}

constexpr int kAllSeven[] = {0, 1, 2, 3, 4, 5, 6};

TEST(RealFilesTest, TopTagging) {
  const std::string path = jets("toptagging_val.h5");
  const JetDataset dataset({.files = {path}, .length = 64});
  EXPECT_EQ(dataset.card().name, "top_tagging") << "recognised by itself";
  ASSERT_EQ(dataset.size(), 6000);
  EXPECT_THAT(dataset.all()->summary().classes, ElementsAre("qcd", "top"));
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(3001, 2999));
  EXPECT_THAT(dataset.all()->summary().paths,
              ElementsAre("table/table: pread + own inflate", testing::StartsWith("files: pread")));
  EXPECT_NEAR(static_cast<double>(dataset.all()->summary().truncated) / 6000, 0.52, 0.03);

  const auto values = read_doubles(path, "table/table", "values_block_0", 804);
  const auto flags = read_doubles(path, "table/table", "values_block_1", 2);
  for (const Row& row : sampled_rows(dataset)) {
    EXPECT_EQ(row.label, flags[static_cast<std::size_t>(row.row) * 2 + 1]);
    const double* v = values.data() + row.row * 804;
    Particle jet{0, 0, 0, 0};
    std::int64_t real = 0;
    for (; real < 200 && v[4 * real] > 0; ++real) {
      jet.e += v[4 * real];
      jet.px += v[4 * real + 1];
      jet.py += v[4 * real + 2];
      jet.pz += v[4 * real + 3];
    }
    const double jet_pt = std::hypot(jet.px, jet.py);
    const double jet_eta = std::asinh(jet.pz / jet_pt);
    EXPECT_EQ(row.mask.sum().item<std::int64_t>(), std::min<std::int64_t>(real, 64));
    for (std::int64_t slot = 0; slot < std::min<std::int64_t>(real, 64); slot += 5) {
      const Particle p{v[4 * slot + 1], v[4 * slot + 2], v[4 * slot + 3], v[4 * slot]};
      const double deta = (std::asinh(p.pz / std::hypot(p.px, p.py)) - jet_eta) * (jet_eta < 0 ? -1 : 1);
      const double dphi = wrap(std::atan2(p.py, p.px) - std::atan2(jet.py, jet.px));
      expect_features(row, slot, kinematics(p, jet_pt, jet.e, deta, dphi), kAllSeven);
      EXPECT_NEAR(row.points[slot][0].item<float>(), deta, 2e-5);
      EXPECT_NEAR(row.points[slot][1].item<float>(), dphi, 2e-5);
    }
    if (real < 64) {
      EXPECT_EQ(row.features.slice(0, real, 64).abs().sum().item<float>(), 0) << "padding of row " << row.row;
    }
  }
}

TEST(RealFilesTest, CmsJetsWithoutCharm) {
  const std::string path = jets("cms_ttbar_ak4_jets.h5");
  const auto flavour = read_doubles(path, "jet_label");
  const auto charm = std::count(flavour.begin(), flavour.end(), 2.0);
  const auto light =
      std::count(flavour.begin(), flavour.end(), 0.0) + std::count(flavour.begin(), flavour.end(), 1.0);
  const JetDataset dataset({.files = {path}});
  EXPECT_EQ(dataset.card().name, "cms_btag") << "recognised by itself";
  EXPECT_EQ(dataset.rows_in_file(0), 7199);
  const auto jet = read_doubles(path, "jet_features");
  std::int64_t selected = 0;
  for (std::size_t i = 0; i < flavour.size(); ++i)
    selected += flavour[i] != 2 && static_cast<float>(jet[4 * i]) > 20 && std::abs(jet[4 * i + 1]) < 2.4;
  EXPECT_EQ(dataset.size(), selected);
  EXPECT_LE(dataset.size(), 7199 - charm);
  EXPECT_GT(dataset.size(), (7199 - charm) * 9 / 10);
  const auto& summary = dataset.all()->summary();
  EXPECT_THAT(summary.classes, ElementsAre("light", "b"));
  EXPECT_LE(summary.class_counts[0], light);
  EXPECT_EQ(std::accumulate(summary.class_counts.begin(), summary.class_counts.end(), std::int64_t{0}),
            dataset.size());
  EXPECT_TRUE(dataset.all()->read(0).tensors.contains("weight")) << "balanced classes";

  const auto part = read_doubles(path, "particle_features");
  const auto extra = read_doubles(path, "particle_extra");
  for (const Row& row : sampled_rows(dataset)) {
    const auto r = static_cast<std::size_t>(row.row);
    EXPECT_EQ(row.label, flavour[r] == 3 ? 1 : 0);
    const double pt = jet[4 * r], eta = jet[4 * r + 1], mass = jet[4 * r + 2];
    for (std::int64_t slot = 0; slot < 56; slot += 3) {
      const double* p = part.data() + (r * 56 + static_cast<std::size_t>(slot)) * 4;
      if (p[3] <= 0.5) continue;
      const double particle_pt = p[2] * pt;
      const Particle particle{particle_pt, 0, 0, particle_pt * std::cosh(eta + p[0])};
      const double deta = p[0] * (eta < 0 ? -1 : 1);
      expect_features(row, slot, kinematics(particle, pt, std::hypot(pt * std::cosh(eta), mass), deta, p[1]),
                      kAllSeven);
      const double* x = extra.data() + (r * 56 + static_cast<std::size_t>(slot)) * 8;
      ASSERT_NEAR(row.features[slot][7].item<float>(), x[0], 1e-6) << "charged";
    }
  }
}

TEST(RealFilesTest, CmsSplitKeepsEventsTogether) {
  const std::string path = jets("cms_ttbar_ak4_jets.h5");
  const auto event = read_doubles(path, "event_no");
  const JetDataset dataset({.files = {path}});
  const auto [train, valid] = dataset.split({.valid_fraction = 0.2, .seed = 3});
  EXPECT_EQ(train->size() + valid->size(), dataset.size());
  EXPECT_NEAR(static_cast<double>(valid->size()) / static_cast<double>(dataset.size()), 0.2, 0.03);
  ASSERT_NE(train->card(), nullptr);
  EXPECT_THAT(train->card()->class_weights, testing::SizeIs(2));
  EXPECT_EQ(train->card()->class_weights, valid->card()->class_weights) << "both from the training part";

  const auto again = dataset.split({.valid_fraction = 0.2, .seed = 3});
  EXPECT_EQ(again.valid->summary().fingerprint, valid->summary().fingerprint);
  EXPECT_NE(dataset.split({.valid_fraction = 0.2, .seed = 4}).valid->summary().fingerprint,
            valid->summary().fingerprint);
}

TEST(RealFilesTest, QuarkGluon) {
  const std::string path = jets("quark_gluon.h5");
  const JetDataset dataset({.files = {path}});
  EXPECT_EQ(dataset.card().name, "quark_gluon");
  ASSERT_EQ(dataset.size(), 30000);
  const auto label = read_doubles(path, "y");
  const auto quarks = std::count(label.begin(), label.end(), 1.0);
  EXPECT_THAT(dataset.all()->summary().class_counts, ElementsAre(30000 - quarks, quarks));

  const auto values = read_doubles(path, "X");
  const auto slots = values.size() / 30000 / 4;
  for (const Row& row : sampled_rows(dataset)) {
    EXPECT_EQ(row.label, label[static_cast<std::size_t>(row.row)]);
    const double* v = values.data() + static_cast<std::size_t>(row.row) * slots * 4;
    std::vector<std::size_t> order;
    Particle jet{0, 0, 0, 0};
    for (std::size_t i = 0; i < slots; ++i) {
      if (v[4 * i] <= 0) continue;
      order.push_back(i);
      jet.px += v[4 * i] * std::cos(v[4 * i + 2]);
      jet.py += v[4 * i] * std::sin(v[4 * i + 2]);
      jet.pz += v[4 * i] * std::sinh(v[4 * i + 1]);
      jet.e += v[4 * i] * std::cosh(v[4 * i + 1]);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return v[4 * a] > v[4 * b]; });
    const double jet_pt = std::hypot(jet.px, jet.py);
    const double jet_eta = std::asinh(jet.pz / jet_pt);
    for (std::size_t slot = 0; slot < std::min<std::size_t>(order.size(), 128); slot += 7) {
      const double* p = v + 4 * order[slot];
      const Particle particle{p[0], 0, 0, p[0] * std::cosh(p[1])};
      const double deta = (p[1] - jet_eta) * (jet_eta < 0 ? -1 : 1);
      const double dphi = wrap(p[2] - std::atan2(jet.py, jet.px));
      constexpr int columns[] = {0, 1, 2, 3, 4, 11, 12};
      expect_features(row, static_cast<std::int64_t>(slot), kinematics(particle, jet_pt, jet.e, deta, dphi),
                      columns);
      constexpr int photon = 8;  // after charge, charged hadron, neutral hadron
      ASSERT_EQ(row.features[static_cast<std::int64_t>(slot)][photon].item<float>(),
                std::abs(p[3]) == 22 ? 1 : 0);
    }
  }
}

/// The decode path gives the bytes that H5Dread gives, for every row.
TEST(RealFilesTest, DecodedBytesEqualH5Dread) {
  struct Case {
    const char* file;
    const char* dataset;
    const char* way;
  };
  for (const Case& test : {Case{"toptagging_val.h5", "table/table", "pread + own inflate"},
                           Case{"cms_ttbar_ak4_jets.h5", "particle_features", "pread + own inflate"},
                           Case{"cms_ttbar_ak4_jets.h5", "jet_label", "pread"},
                           Case{"quark_gluon.h5", "X", "pread + own inflate"}}) {
    SCOPED_TRACE(std::string(test.file) + ":" + test.dataset);
    auto file = std::make_shared<const hdf5::File>(hdf5::open_read_only(jets(test.file)));
    const StoredDataset dataset(file, std::make_shared<const FileBytes>(jets(test.file)), test.dataset);
    EXPECT_EQ(dataset.path_text(), test.way);
    const auto row_bytes = dataset.layout().row_bytes();
    for (std::size_t first = 0; first < dataset.layout().rows(); first += 1000) {
      const auto count = std::min<std::size_t>(1000, dataset.layout().rows() - first);
      std::vector<std::byte> expected(count * row_bytes), ours(count * row_bytes);
      dataset.read_by_library(first, count, [&](std::size_t at, std::size_t rows, const std::byte* bytes) {
        std::memcpy(expected.data() + at * row_bytes, bytes, rows * row_bytes);
      });
      dataset.read(first, count, [&](std::size_t at, std::size_t rows, const std::byte* bytes) {
        std::memcpy(ours.data() + at * row_bytes, bytes, rows * row_bytes);
      });
      ASSERT_TRUE(expected == ours) << "rows from " << first;
    }
  }
}

TEST(RealFilesTest, LoaderDeliversEveryJetOnce) {
  const JetDataset dataset({.files = {jets("toptagging_val.h5")}, .length = 32});
  DataLoader loader(dataset.all(), {.global_batch = 256, .threads = 2});
  std::vector<int> seen(6000);
  std::int64_t tops = 0;
  for (const Batch& batch : loader) {
    for (std::int64_t i = 0; i < batch.size(); ++i)
      ++seen[static_cast<std::size_t>(batch.sample_ids[i].item<std::int64_t>())];
    tops += batch["label"].sum().item<std::int64_t>();
    EXPECT_EQ(batch["features"].sizes(), (std::vector<std::int64_t>{batch.size(), 32, 7}));
  }
  EXPECT_THAT(seen, testing::Each(1));
  EXPECT_EQ(tops, 2999);
}

}  // namespace
}  // namespace bunchtrain::data
