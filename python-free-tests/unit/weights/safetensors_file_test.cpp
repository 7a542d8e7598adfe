// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/safetensors_file.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::weights {
namespace {

template <class T>
TensorBytes tensor(std::string name, Dtype dtype, std::vector<std::int64_t> shape,
                   std::span<const T> values) {
  return {std::move(name), dtype, std::move(shape), std::as_bytes(values)};
}

template <class T, std::size_t N>
std::array<T, N> read(const SafeTensorsFile& file, std::string_view name, std::uint64_t first = 0) {
  std::array<T, N> values{};
  file.read(*file.find(name), std::as_writable_bytes(std::span(values)), first * sizeof(T));
  return values;
}

class SafeTensorsFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::array<float, 6> weights = {0, 1, 2, 3, 4, 5};
    const std::array<std::int64_t, 2> counts = {1LL << 40, -7};
    const std::array<std::uint8_t, 3> flags = {1, 0, 1};
    const std::array tensors = {tensor<std::uint8_t>("flags", Dtype::boolean, {3}, flags),
                                tensor<float>("weights", Dtype::f32, {2, 3}, weights),
                                tensor<std::int64_t>("counts", Dtype::i64, {2}, counts)};
    written_ = write_safetensors_file(path_, tensors, {{"model", "toy"}});
  }

  void TearDown() override { std::filesystem::remove(path_); }

  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) / ("toy-" + std::to_string(::getpid()) + ".safetensors");
  WrittenFile written_;
};

TEST_F(SafeTensorsFileTest, TellsWhatItHoldsAndReadsAllOfIt) {
  const SafeTensorsFile file(path_);
  ASSERT_EQ(file.entries().size(), 3U);
  EXPECT_EQ(file.entries()[1].name, "weights");
  EXPECT_EQ(file.entries()[1].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.metadata().at("model"), "toy");
  EXPECT_EQ(file.find("bias"), nullptr);
  EXPECT_EQ(written_.bytes, std::filesystem::file_size(path_));
  EXPECT_EQ((read<float, 6>(file, "weights")), (std::array<float, 6>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ((read<std::int64_t, 2>(file, "counts")), (std::array<std::int64_t, 2>{1LL << 40, -7}));
  EXPECT_EQ((read<std::uint8_t, 3>(file, "flags")), (std::array<std::uint8_t, 3>{1, 0, 1}));
}

TEST_F(SafeTensorsFileTest, ReadsPartsOfATensorAndNothingOutsideOfIt) {
  const SafeTensorsFile file(path_);
  EXPECT_EQ((read<float, 2>(file, "weights", 3)), (std::array<float, 2>{3, 4}));
  EXPECT_EQ((read<float, 0>(file, "weights", 6)), (std::array<float, 0>{}));
  EXPECT_THROW((read<float, 2>(file, "weights", 5)), ConfigError);
  EXPECT_THROW((read<float, 1>(file, "weights", 7)), ConfigError);
}

TEST_F(SafeTensorsFileTest, LargerElementsComeFirstSoThatAllAreAligned) {
  const SafeTensorsFile file(path_);
  EXPECT_EQ(file.find("counts")->begin, 0U);
  EXPECT_EQ(file.find("weights")->begin, 16U);
  EXPECT_EQ(file.find("flags")->begin, 40U);
}

TEST_F(SafeTensorsFileTest, ThreadsReadAtOnce) {
  const SafeTensorsFile file(path_);
  std::array<bool, 4> right{};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < right.size(); ++i)
    threads.emplace_back([&, i] {
      right[i] = true;
      for (int repeat = 0; repeat < 100; ++repeat)
        right[i] = right[i] && read<float, 1>(file, "weights", i)[0] == static_cast<float>(i);
    });
  threads.clear();
  EXPECT_EQ(right, (std::array{true, true, true, true}));
}

TEST_F(SafeTensorsFileTest, BytesMustFitTypeAndShape) {
  const std::array<float, 3> values{};
  const std::array wrong = {tensor<float>("weights", Dtype::f32, {2, 2}, values)};
  EXPECT_THROW(write_safetensors_file(path_, wrong, {}), ConfigError);
  EXPECT_NO_THROW(SafeTensorsFile{path_}) << "the file before is still there";
}

}  // namespace
}  // namespace bunchtrain::weights
