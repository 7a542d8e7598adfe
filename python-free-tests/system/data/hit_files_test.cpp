// SPDX-License-Identifier: Apache-2.0
// Real events of the CMS high-granularity calorimeter through the loader.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/data/data_loader.hpp"
#include "bunchtrain/data/file_contents.hpp"
#include "bunchtrain/data/hit_dataset.hpp"
#include "bunchtrain/data/repack.hpp"
#include "bunchtrain/features/recognition.hpp"
#include "storage/opened_file.hpp"
#include "storage/stored_dataset.hpp"

namespace bunchtrain::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kFile = BUNCHTRAIN_TEST_DATA "/hits/hgcal_rechits.h5";

/// The sum over the hits of each event of a column of the file, by nothing but the bytes of its rows.
std::vector<double> sums_of_column(std::size_t column, const std::vector<std::int64_t>& splits) {
  const StoredDataset dataset = OpenedFile(kFile).open("rechit_features", false);
  const std::size_t width = dataset.layout().row_bytes() / sizeof(float);
  std::vector<double> sums(splits.size() - 1, 0.0);
  for (std::size_t event = 0; event + 1 < splits.size(); ++event)
    dataset.read_by_library(static_cast<std::size_t>(splits[event]),
                            static_cast<std::size_t>(splits[event + 1] - splits[event]),
                            [&](std::size_t, std::size_t rows, const std::byte* bytes) {
                              const auto* values = reinterpret_cast<const float*>(bytes);
                              for (std::size_t row = 0; row < rows; ++row)
                                sums[event] += values[row * width + column];
                            });
  return sums;
}

/// A hash of the bytes of each event's hits, in their order.
std::vector<std::string> hashes_of_events(const std::vector<std::filesystem::path>& files) {
  std::vector<std::string> hashes;
  for (const auto& file : files) {
    const DatasetPtr all = HitDataset({.files = {file.string()}, .card = "hgcal_rechits"}).all();
    const StoredDataset dataset = OpenedFile(file).open("rechit_features", false);
    for (std::size_t event = 0; event + 1 < all->row_splits().size(); ++event) {
      const auto begin = static_cast<std::size_t>(all->row_splits()[event]);
      Hasher hasher;
      dataset.read_by_library(begin, static_cast<std::size_t>(all->row_splits()[event + 1]) - begin,
                              [&](std::size_t, std::size_t rows, const std::byte* bytes) {
                                hasher.update({bytes, rows * dataset.layout().row_bytes()});
                              });
      hashes.push_back(hasher.hex());
    }
  }
  return hashes;
}

TEST(HitFilesTest, RepackedEventsKeepTheBytesOfTheirHits) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("bunchtrain-hits-" + std::to_string(getpid()));
  const RepackResult result = repack({.files = {kFile},
                                      .out = folder,
                                      .shards = 3,
                                      .filter = RepackFilter::deflate,
                                      .seed = 5,
                                      .card = "hgcal_rechits",
                                      .memory_bytes = std::int64_t{4} << 20});
  EXPECT_EQ(result.rows, 10);
  EXPECT_EQ(result.elements, 489986);
  const HitDataset events({.files = {result.manifest.string()}});
  EXPECT_EQ(events.size(), 10);
  EXPECT_EQ(events.hits(), 489986);
  const auto before = hashes_of_events({kFile}), after = hashes_of_events(events.files());
  EXPECT_NE(after, before);
  EXPECT_THAT(after, testing::UnorderedElementsAreArray(before));
  std::filesystem::remove_all(folder);
}

TEST(HitFilesTest, HgcalIsRecognisedAndRead) {
  EXPECT_EQ(features::recognise(shapes_of(list_contents(kFile))), "hgcal_rechits");
  const HitDataset events({.files = {kFile}});
  EXPECT_EQ(events.card().name, "hgcal_rechits");
  EXPECT_EQ(events.size(), 10);
  EXPECT_EQ(events.hits(), 489986);
  const auto& summary = events.all()->summary();
  EXPECT_THAT(summary.description, HasSubstr("10 of 10 events (489986 hits)"));
  for (const features::ColumnSummary& column : summary.columns) {
    EXPECT_GT(column.count, 200000) << column.expression;
    EXPECT_TRUE(std::isfinite(column.mean)) << column.expression;
  }
}

TEST(HitFilesTest, EveryRankSeesItsEventsWhole) {
  const DatasetPtr all = HitDataset({.files = {kFile}}).all();
  const std::vector<std::int64_t> splits(all->row_splits().begin(), all->row_splits().end());
  const std::vector<double> expected = sums_of_column(5, splits);  // x in cm
  for (int world = 1; world <= 4; ++world) {
    std::map<std::int64_t, double> found;
    std::int64_t hits = 0;
    std::vector<std::int64_t> largest;
    for (int rank = 0; rank < world; ++rank) {
      DataLoader loader(all, {.global_batch = 4,
                              .global_elements = 160000,
                              .rank = rank,
                              .world_size = world,
                              .prefetch_bytes = std::int64_t{16} << 20});
      for (const Batch& batch : loader) {
        ASSERT_LE(batch.global_elements, 160000);
        ASSERT_EQ(batch["coordinates"].size(0), batch.elements);
        hits += batch.elements;
        const at::Tensor x = batch["coordinates"].select(1, 0).to(at::kDouble) * 100;
        for (std::int64_t i = 0; i < batch.size(); ++i) {
          const auto begin = batch["row_splits"][i].item<std::int64_t>();
          const auto end = batch["row_splits"][i + 1].item<std::int64_t>();
          found[batch.sample_ids[i].item<std::int64_t>()] = x.slice(0, begin, end).sum().item<double>();
        }
      }
    }
    EXPECT_EQ(hits, 489986) << world << " ranks";
    ASSERT_EQ(found.size(), expected.size());
    for (const auto& [event, sum] : found)
      EXPECT_NEAR(sum, expected[static_cast<std::size_t>(event)], 1e-3 * std::abs(sum) + 1)
          << "event " << event;
  }
}

}  // namespace
}  // namespace bunchtrain::data
