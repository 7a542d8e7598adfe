// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/data/detail/overlap.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/data/hdf5_writer.hpp"
#include "bunchtrain/data/jet_dataset.hpp"
#include "bunchtrain/data/memory_dataset.hpp"
#include "hdf5_samples.hpp"

namespace bunchtrain::data {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::string_view kCard = R"toml(card = 1
[[read.jet]]
from = "jets"
columns = ["pt", "kind", "event"]
unit = { pt = "GeV" }
[[read.part]]
from = "particles"
columns = ["deta", "dphi", "mask"]
[particles]
mask = "part.mask > 0.5"
length = 2
[inputs]
points = ["part.deta", "part.dphi"]
features = ["part.deta"]
[label]
of = "jet.kind"
classes = [["a", 0], ["b", 1]]
)toml";

class OverlapTest : public Hdf5FilesTest {
 protected:
  std::string write(const std::string& name, std::int64_t first_row, std::int64_t rows = 120) const {
    const at::Tensor row = at::arange(first_row, first_row + rows, at::kFloat);
    Hdf5Writer writer(path(name));
    writer.create_dataset("jets", at::stack({100 + row, row.remainder(2), row.div(4, "floor")}, 1), 32);
    writer.create_dataset("particles", at::ones({rows, 2, 3}), 32);
    writer.commit();
    return path(name);
  }
  JetDataset open(std::vector<std::string> files, std::string_view more = "") const {
    std::ofstream(path("card.toml")) << kCard << more;
    return JetDataset({.files = std::move(files), .card = path("card.toml")});
  }
  std::string refusal(const DatasetPtr& train, const DatasetPtr& valid) const {
    try {
      require_disjoint(*train, *valid);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(OverlapTest, TheSameFileUnderAnyNameIsRefusedAndNamedTwice) {
  const std::string file = write("jets.h5", 0), other = write("other.h5", 1000);
  fs::create_symlink(file, path("link.h5"));
  fs::create_hard_link(file, path("hard.h5"));
  fs::copy_file(file, path("copy.h5"));
  const auto train = open({other, file}).all();
  for (const char* name : {"link.h5", "hard.h5", "copy.h5"}) {
    const auto said = refusal(train, open({path(name)}).all());
    EXPECT_THAT(said, testing::AllOf(HasSubstr("jets.h5"), HasSubstr(name), HasSubstr("files to valid,")))
        << name;
  }
  EXPECT_THAT(refusal(train, open({file}).all()), HasSubstr("both trained and validated on"));
  EXPECT_EQ(refusal(open({file}).all(), open({other}).all()), "");
}

TEST_F(OverlapTest, PartsOfOneSplitAreDisjointOthersAreNot) {
  const JetDataset jets = open({write("jets.h5", 0)});
  const auto [train, valid] = jets.split({.valid_fraction = 0.2, .seed = 3});
  EXPECT_EQ(refusal(train, valid), "");
  EXPECT_EQ(train->summary().part.name, "train");
  EXPECT_THAT(refusal(train, jets.split({.valid_fraction = 0.2, .seed = 4}).valid), HasSubstr("jets.h5"));
  EXPECT_THAT(refusal(train, jets.split({.valid_fraction = 0.3, .seed = 3}).valid), HasSubstr("jets.h5"));
  EXPECT_THAT(refusal(train, jets.all()), HasSubstr("jets.h5"));
  EXPECT_THAT(refusal(train, train), HasSubstr("jets.h5"));
}

TEST_F(OverlapTest, ACopyAmongTheFilesOfASplitWouldBeInBothParts) {
  const std::string file = write("jets.h5", 0);
  fs::copy_file(file, path("copy.h5"));
  const auto [train, valid] = open({file, path("copy.h5")}).split({.valid_fraction = 0.5, .seed = 3});
  EXPECT_THAT(refusal(train, valid), testing::AllOf(HasSubstr("copy.h5 is a copy of"), HasSubstr("jets.h5")));
}

TEST_F(OverlapTest, DataInMemoryHaveNoFiles) {
  NamedTensors tensors;
  tensors.set("x", at::ones({4}));
  const auto points = make_memory_dataset(std::move(tensors));
  EXPECT_EQ(refusal(points, points), "");
}

/// What a split kept for validation is known again from its seed, wherever the files stand now.
TEST_F(OverlapTest, ASplitIsKnownAgain) {
  const std::string first = write("first.h5", 0), second = write("second.h5", 500, 80);
  const SplitOptions options{.valid_fraction = 0.3, .seed = 11};
  for (const char* more : {"", "[split]\nby = \"jet.event\"\n"}) {
    const JetDataset jets = open({first, second}, more);
    std::set<std::pair<std::int32_t, std::int64_t>> kept;
    for (const auto& row : jets.rows_of(*jets.split(options).valid)) kept.insert({row.file, row.row});
    const auto rows = jets.rows_of(*jets.all());
    ASSERT_EQ(rows.size(), 200U);
    for (const auto& row : rows)
      EXPECT_EQ(jets.is_validated(row, options, {.index = row.file, .first_row = row.file == 0 ? 0 : 120}),
                kept.contains({row.file, row.row}))
          << more << row.file << " " << row.row;
    if (*more) continue;
    const JetDataset alone = open({second});
    for (const auto& row : alone.rows_of(*alone.all()))
      EXPECT_EQ(alone.is_validated(row, options, {.index = 1, .first_row = 120}),
                kept.contains({1, row.row}));
  }
}

}  // namespace
}  // namespace bunchtrain::data
