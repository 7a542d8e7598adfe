// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/safetensors.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "bunchtrain/core/error.hpp"
#include "safetensors_bytes.hpp"

namespace bunchtrain::weights {
namespace {

std::filesystem::path scratch_file(std::string_view name) {
  return std::filesystem::path(testing::TempDir()) /
         (std::string(name) + std::to_string(::getpid()) + ".safetensors");
}

class SafeTensorsDtypeTest : public testing::TestWithParam<at::ScalarType> {};

TEST_P(SafeTensorsDtypeTest, RoundTripIsBitEqual) {
  const auto path = scratch_file("dtype");
  const at::Tensor tensor = at::arange(-5, 19).reshape({2, 3, 4}).to(GetParam());
  SafeTensors content;
  content.tensors.set("w", tensor);
  write_safetensors(path, content);
  const SafeTensors back = read_safetensors(path);
  std::filesystem::remove(path);
  EXPECT_EQ(back.tensors["w"].scalar_type(), GetParam());
  EXPECT_TRUE(at::equal(back.tensors["w"], tensor));
}

INSTANTIATE_TEST_SUITE_P(All, SafeTensorsDtypeTest,
                         testing::Values(at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong,
                                         at::kInt, at::kShort, at::kChar, at::kByte, at::kBool),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

TEST(SafeTensorsTest, KeepsOrderMetadataAndOddShapes) {
  const auto path = scratch_file("order");
  SafeTensors content;
  content.metadata = {{"classes", "qcd,top"}, {"quotes \" and \\", "line\nbreak é"}};
  content.tensors.set("z.byte", at::arange(3, at::kByte));
  content.tensors.set("a.scalar", at::arange(1, at::kLong).squeeze());
  content.tensors.set("m.empty", at::zeros({0, 5}));
  content.tensors.set("strided", at::arange(12, at::kFloat).reshape({3, 4}).t());
  write_safetensors(path, content);
  const SafeTensors back = read_safetensors(path);
  std::filesystem::remove(path);

  EXPECT_EQ(back.metadata, content.metadata);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : back.tensors) {
    names.push_back(name);
    EXPECT_EQ(tensor.sizes(), content.tensors[name].sizes()) << name;
    EXPECT_TRUE(at::equal(tensor, content.tensors[name])) << name;
  }
  EXPECT_THAT(names, testing::ElementsAre("z.byte", "a.scalar", "m.empty", "strided"));
}

TEST(SafeTensorsTest, SameContentGivesSameBytes) {
  const auto first = scratch_file("first"), second = scratch_file("second");
  SafeTensors content;
  content.metadata = {{"b", "2"}, {"a", "1"}};
  content.tensors.set("w", at::arange(7, at::kFloat));
  write_safetensors(first, content);
  write_safetensors(second, read_safetensors(first));
  const auto slurp = [](const std::filesystem::path& path) { return std::filesystem::file_size(path); };
  EXPECT_EQ(slurp(first), slurp(second));
  EXPECT_EQ(slurp(first) % 4, 0U) << "data must be aligned to the element size";
  std::filesystem::remove(first);
  std::filesystem::remove(second);
}

TEST(SafeTensorsTest, ReadsAFileWithoutTensors) {
  const SafeTensors content =
      parse_safetensors(make_file(R"({"__metadata__":{"format":"pt"}}  )", 0), "none");
  EXPECT_TRUE(content.tensors.empty());
  EXPECT_EQ(content.metadata.at("format"), "pt");
}

TEST(SafeTensorsTest, ReadsTensorsWhoseDataLieInAnotherOrderThanTheirNames) {
  auto bytes = make_file(
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
      2);
  bytes[bytes.size() - 2] = std::byte{7};
  bytes[bytes.size() - 1] = std::byte{9};
  const SafeTensors content = parse_safetensors(bytes, "swapped");
  EXPECT_EQ(content.tensors["a"].item().toLong(), 9);
  EXPECT_EQ(content.tensors["b"].item().toLong(), 7);
}

}  // namespace
}  // namespace bunchtrain::weights
