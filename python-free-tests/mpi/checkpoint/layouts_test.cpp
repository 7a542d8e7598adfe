// SPDX-License-Identifier: Apache-2.0
// State that is spread over ranks in one layout is read by any number of ranks in any other.

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>

#include "bunchtrain/checkpoint/store.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/mpi/environment.hpp"

namespace bunchtrain::checkpoint {
namespace {

namespace fs = std::filesystem;
using tensor::Slice;
using testing::HasSubstr;
using Sizes = std::vector<std::int64_t>;

/// How a tensor is spread over ranks.
enum class Layout { replicated, rows, columns, blocks, flat };
constexpr std::array kLayouts = {Layout::replicated, Layout::rows, Layout::columns, Layout::blocks,
                                 Layout::flat};

struct Part {
  std::int64_t begin, size;
};
/// Of `count` things, those of `rank`; uneven if they must be.
Part share(std::int64_t count, int rank, int world) {
  const std::int64_t begin = count * rank / world;
  return {begin, count * (rank + 1) / world - begin};
}

Slice box_along(const Sizes& shape, std::size_t axis, int rank, int world) {
  Sizes offset(shape.size(), 0), sizes = shape;
  const auto [begin, size] = share(shape[axis], rank, world);
  offset[axis] = begin;
  sizes[axis] = size;
  return Slice::box(shape, offset, sizes);
}

/// What `rank` holds of a tensor with these strides.
Slice slice_of(const at::Tensor& whole, Layout layout, int rank, int world) {
  const Sizes shape = whole.sizes().vec();
  switch (layout) {
    case Layout::rows:
      return box_along(shape, 0, rank, world);
    case Layout::columns:
      return box_along(shape, shape.size() - 1, rank, world);
    case Layout::blocks: {  // two by two if there are four
      if (world % 2 != 0) return box_along(shape, 0, rank, world);
      Slice rows = box_along(shape, 0, rank / 2, world / 2);
      const Slice columns = box_along(shape, 1, rank % 2, 2);
      rows.offset[1] = columns.offset[1];
      rows.sizes[1] = columns.sizes[1];
      return rows;
    }
    case Layout::flat: {
      const auto [begin, count] = share(whole.numel(), rank, world);
      return Slice::range(shape, whole.strides(), begin, count);
    }
    default:
      return Slice::whole(shape);
  }
}

at::Tensor part_of(const at::Tensor& whole, const Slice& slice) {
  if (slice.is_range())
    return whole.as_strided({whole.numel()}, {1}).narrow(0, slice.begin, slice.count).clone();
  at::Tensor part = whole;
  for (std::size_t axis = 0; axis < slice.shape.size(); ++axis)
    part = part.narrow(static_cast<std::int64_t>(axis), slice.offset[axis], slice.sizes[axis]);
  return part.contiguous();
}

/// A matrix, and a convolution's weights in channels-last order, with moments of their own.
NamedTensors whole_tensors(std::int64_t step) {
  NamedTensors tensors;
  const auto numbers = [&](std::int64_t first, const Sizes& shape) {
    return (at::arange(first, first + 7 * 5 * 3 * 2, at::kFloat) * 0.37 + static_cast<double>(step))
        .view(shape);
  };
  for (const char* kind : {"weight", "exp_avg.weight", "exp_avg_sq.weight"}) {
    const std::int64_t first = 1000 * static_cast<std::int64_t>(tensors.size());
    tensors.set(std::string(kind) + ".matrix", numbers(first, {7, 30}));
    tensors.set(std::string(kind) + ".conv",
                numbers(first + 500, {7, 5, 3, 2}).contiguous(at::MemoryFormat::ChannelsLast));
  }
  return tensors;
}

class LayoutsTest : public testing::Test {
 protected:
  void TearDown() override {
    environment_.world().barrier();
    if (rank() == 0) fs::remove_all(folder_.parent_path());
    communicator_.close();
  }
  int rank() const { return communicator_.rank(); }
  int size() const { return communicator_.size(); }

  SaveRequest request(std::int64_t step, Layout layout) const {
    SaveRequest request{.step = step, .components = {}};
    StateDict& model = request.components["model"];
    for (const auto& [name, whole] : whole_tensors(step)) {
      const Slice slice = slice_of(whole, layout, rank(), size());
      if (layout == Layout::replicated)
        model.tensors.set(name, whole);
      else
        model.set_slice(name, part_of(whole, slice), slice);
    }
    model.set("step", step);
    return request;
  }

  mpi::Environment environment_;
  comm::Communicator communicator_ = comm::Communicator::create(environment_.world(), at::kCPU);
  fs::path folder_ = fs::temp_directory_path() /
                     environment_.world().broadcast("bunchtrain-layouts-" + std::to_string(::getpid())) /
                     "checkpoints";
  Store store_{folder_, communicator_};
};

TEST_F(LayoutsTest, AnyLayoutIsReadByAnyNumberOfRanksInAnyOther) {
  std::int64_t step = 0;
  for (const Layout written : kLayouts) {
    const fs::path snapshot = store_.save(request(++step, written)).folder;
    const NamedTensors expected = whole_tensors(step);
    // Every real rank plays all ranks of worlds of one to four.
    for (int world = 1; world <= 4; ++world)
      for (int reader = 0; reader < world; ++reader)
        for (const Layout read : kLayouts) {
          WantedSlices wanted;
          for (const auto& [name, whole] : expected)
            if (read != Layout::replicated)
              wanted["model"].emplace(name, slice_of(whole, read, reader, world));
          const Snapshot found = read_snapshot(snapshot, reader, world, wanted);
          const StateDict& model = found.components.at("model");
          ASSERT_EQ(model.integer("step"), step);
          for (const auto& [name, whole] : expected) {
            const Slice slice = slice_of(whole, read, reader, world);
            ASSERT_TRUE(model.tensors[name].equal(part_of(whole, slice)))
                << name << ": " << static_cast<int>(written) << " to " << static_cast<int>(read) << ", "
                << slice.to_string();
            ASSERT_EQ(model.slice_of(name), slice.is_whole() ? Slice::whole(whole.sizes()) : slice);
          }
        }
    environment_.world().barrier();
  }
}

TEST_F(LayoutsTest, TheStoreGivesEachRankItsPart) {
  store_.save(request(3, Layout::flat));
  const NamedTensors expected = whole_tensors(3);
  WantedSlices wanted;
  for (const auto& [name, whole] : expected)
    wanted["model"].emplace(name, slice_of(whole, Layout::rows, rank(), size()));
  const auto found = store_.load_latest(wanted);
  ASSERT_TRUE(found.has_value());
  for (const auto& [name, whole] : expected)
    EXPECT_TRUE(found->components.at("model").tensors[name].equal(part_of(whole, wanted["model"].at(name))));
  const auto best = store_.load("best", {"model"});
  EXPECT_TRUE(best->components.at("model").tensors["weight.conv"].equal(expected["weight.conv"]));
}

TEST_F(LayoutsTest, LargeReplicatedStateIsWrittenByAllRanksOnce) {
  SaveRequest request{.step = 1, .components = {}};
  constexpr std::int64_t kElements = 200'000;
  for (int i = 0; i < 7; ++i)
    request.components["model"].tensors.set("w" + std::to_string(i),
                                            at::arange(i, i + kElements, at::kFloat));
  request.components["model"].set("step", std::int64_t{1});
  request.components["small"].tensors.set("w", at::arange(10));
  const SnapshotInfo saved = store_.save(request);
  std::set<std::string> files;
  std::uintmax_t bytes = 0;
  for (const auto& file : fs::directory_iterator(saved.folder)) {
    files.insert(file.path().filename());
    if (file.path().extension() == ".safetensors") bytes += file.file_size();
  }
  EXPECT_EQ(files.size(), static_cast<std::size_t>(size()) + 2)
      << "a part of each rank, the small one, the manifest";
  EXPECT_EQ(files.contains("model.part-00001.safetensors"), size() > 1);
  EXPECT_LT(bytes, 7 * 4 * kElements + 8000) << "nothing is there twice";
  const auto found = store_.load_latest();
  for (int i = 0; i < 7; ++i)
    EXPECT_TRUE(found->components.at("model").tensors["w" + std::to_string(i)].equal(
        request.components["model"].tensors["w" + std::to_string(i)]));
}

TEST_F(LayoutsTest, PartsThatAreNotTheWholeAreRefusedByAllRanks) {
  store_.save(request(1, Layout::rows));
  SaveRequest missing = request(2, Layout::rows);
  StateDict& model = missing.components["model"];
  const Slice last = Slice::box({7, 30}, {6, 0}, {1, 29});
  if (rank() == size() - 1) {
    model.tensors.set("odd", at::arange(29, at::kFloat).view({1, 29}));
    model.slices["odd"] = last;
  }
  const auto refusal = [&](const SaveRequest& request) -> std::string {
    try {
      store_.save(request);
      return "nothing was refused";
    } catch (const CheckpointError& error) {
      return error.message();
    }
  };
  EXPECT_THAT(refusal(missing),
              HasSubstr("tensor 'odd' of component 'model' has 29 of its 210 elements only"));
  if (size() > 1) {
    SaveRequest twice = request(2, Layout::rows);
    twice.components["model"].set_slice("odd", at::arange(29, at::kFloat).view({1, 29}), last);
    EXPECT_THAT(refusal(twice),
                HasSubstr("tensor 'odd' of component 'model' has elements twice: [6:7, 0:29] of [7, 30]"));
  }
  EXPECT_EQ(store_.load_latest()->info.step, 1);
}

TEST_F(LayoutsTest, APartThatAnotherTensorIsWantedOfIsNamed) {
  const fs::path snapshot = store_.save(request(1, Layout::flat)).folder;
  WantedSlices wanted;
  wanted["model"].emplace("weight.matrix", Slice::box({8, 30}, {0, 0}, {4, 30}));
  try {
    read_snapshot(snapshot, 0, 1, wanted);
    FAIL() << "another shape was accepted";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("'weight.matrix' is wanted as [0:4, 0:30] of [8, 30]"),
                                             HasSubstr("of [7, 30]")));
  }
  environment_.world().barrier();
}

TEST_F(LayoutsTest, ADamagedPartCostsOneSnapshot) {
  store_.save(request(1, Layout::blocks));
  const SnapshotInfo newest = store_.save(request(2, Layout::blocks));
  if (rank() == size() - 1) {
    const std::string name = size() == 1 ? "model" : "model.part-0000" + std::to_string(rank());
    std::fstream file(newest.folder / (name + ".safetensors"),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-3, std::ios::end);
    file.put('x');
  }
  environment_.world().barrier();
  EXPECT_EQ(store_.load_latest()->info.step, 1);
}

}  // namespace
}  // namespace bunchtrain::checkpoint
