// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/train/detail/trained_on.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <utility>

#include "../../support/toy_training.hpp"
#include "bunchtrain/core/error.hpp"

namespace bunchtrain::train {
namespace {

TEST(TrainedOnTest, IsReadBack) {
  data::DatasetSummary summary;
  summary.files = {{.path = "a \"b\".h5", .fingerprint = "12ab", .rows = 1500},
                   {.path = "/x/c.h5", .fingerprint = "34", .rows = 7, .class_name = "top"}};
  summary.part = {.name = "train", .valid_fraction = 0.1, .seed = 18'000'000'000'000'000'000U};
  const TrainedOn trained = parse_trained_on(to_text(summary));
  ASSERT_EQ(trained.files.size(), 2U);
  EXPECT_EQ(trained.files[0].path, std::filesystem::absolute("a \"b\".h5").string());
  EXPECT_EQ(trained.files[0].fingerprint, "12ab");
  EXPECT_EQ(trained.files[0].rows, 1500);
  EXPECT_EQ(trained.files[0].class_name, "");
  EXPECT_EQ(trained.files[1].path, "/x/c.h5");
  EXPECT_EQ(trained.files[1].class_name, "top");
  EXPECT_EQ(trained.part.name, "train");
  EXPECT_EQ(trained.part.valid_fraction, 0.1);
  EXPECT_EQ(trained.part.seed, summary.part.seed);
}

TEST(TrainedOnTest, DataInMemoryLeaveNothing) { EXPECT_EQ(to_text({}), ""); }

TEST(TrainedOnTest, ForeignTextIsRefused) {
  for (const char* text : {"", "{}", "[1]", "{\"files\": 3}"})
    EXPECT_THROW(parse_trained_on(text), CheckpointError) << text;
}

/// Points that claim to come from a file.
class FiledPoints final : public data::Dataset {
 public:
  FiledPoints(std::string path, std::string fingerprint, data::SplitPart part = {})
      : points_(test::make_points(64)), summary_(points_->summary()) {
    summary_.files = {{.path = std::move(path), .fingerprint = std::move(fingerprint), .rows = 64}};
    summary_.part = std::move(part);
  }
  std::int64_t size() const noexcept override { return points_->size(); }
  std::span<const data::SampleRange> ranges() const noexcept override { return points_->ranges(); }
  data::SampleBlock read(std::size_t range) const override { return points_->read(range); }
  const data::DatasetSummary& summary() const override { return summary_; }

 private:
  data::DatasetPtr points_;
  data::DatasetSummary summary_;
};

/// A program that opens its data itself is kept from validating on what it trains on, too.
TEST(TrainedOnTest, TheTrainerRefusesFilesThatAreBoth) {
  const auto root = std::filesystem::path(::testing::TempDir()) / "trained_on_test";
  std::filesystem::remove_all(root);
  const auto points = [](std::string path, std::string fingerprint, data::SplitPart part = {}) {
    return std::make_shared<const FiledPoints>(std::move(path), std::move(fingerprint), std::move(part));
  };
  const auto train = points("a.h5", "1"), copy = points("copy.h5", "1"), other = points("b.h5", "2");
  {
    test::ToyTraining training(mpi::Comm::self(), root / "run", {}, {.epochs = 1, .batch = 32});
    try {
      training.trainer.fit(train, copy);
      ADD_FAILURE() << "validated on what it was trained on";
    } catch (const DataError& error) {
      for (const char* name : {"a.h5", "copy.h5"})
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
    EXPECT_FALSE(std::filesystem::exists(root / "run" / "run.json"));
    EXPECT_EQ(training.trainer.fit(train, other).epochs, 1);
  }
  test::ToyTraining split(mpi::Comm::self(), root / "split", {}, {.epochs = 1, .batch = 32});
  const data::SplitPart kept{.name = "valid", .valid_fraction = 0.5, .seed = 1};
  data::SplitPart taken = kept;
  taken.name = "train";
  EXPECT_EQ(split.trainer.fit(points("a.h5", "1", taken), points("a.h5", "1", kept)).epochs, 1);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace bunchtrain::train
