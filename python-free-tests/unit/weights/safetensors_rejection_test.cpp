// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/safetensors.hpp"
#include "safetensors_bytes.hpp"

namespace bunchtrain::weights {
namespace {

using testing::HasSubstr;

/// A file that must be refused, and a part of the message that says why.
struct BadFile {
  std::string name;
  std::string header;
  std::size_t data_bytes;
  std::string fault;
};
void PrintTo(const BadFile& file, std::ostream* out) { *out << file.name; }

std::string message_of(const std::vector<std::byte>& bytes) {
  try {
    parse_safetensors(bytes, "bad.safetensors");
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "accepted";
}

class SafeTensorsRejectionTest : public testing::TestWithParam<BadFile> {};

TEST_P(SafeTensorsRejectionTest, NamesFileAndFault) {
  const std::string message = message_of(make_file(GetParam().header, GetParam().data_bytes));
  EXPECT_THAT(message, HasSubstr("bad.safetensors"));
  EXPECT_THAT(message, HasSubstr(GetParam().fault));
}

std::string tensor(std::string_view dtype, std::string_view shape, std::string_view offsets,
                   std::string_view name = "w") {
  return std::string("\"") + std::string(name) + R"(":{"dtype":")" + std::string(dtype) + R"(","shape":)" +
         std::string(shape) + R"(,"data_offsets":)" + std::string(offsets) + "}";
}
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return "{" + tensor(dtype, shape, offsets) + "}";
}

INSTANTIATE_TEST_SUITE_P(
    Headers, SafeTensorsRejectionTest,
    testing::Values(
        BadFile{"EmptyHeader", "", 0, "does not begin with '{'"},
        BadFile{"List", "[1]", 0, "does not begin with '{'"},
        BadFile{"LeadingSpace", " {}", 0, "does not begin with '{'"},
        BadFile{"NotJson", "{\"w\":", 0, "not JSON"}, BadFile{"TrailingText", "{} x", 0, "not JSON"},
        BadFile{"InvalidUtf8", "{\"\xff\":{}}", 0, "not JSON"},
        BadFile{"DtypeUnknown", one("F8_E4M3", "[1]", "[0,1]"), 1, "dtype 'F8_E4M3' is not supported"},
        BadFile{"DtypeMissing", R"({"w":{"shape":[1],"data_offsets":[0,4]}})", 4, "'dtype' is missing"},
        BadFile{"ShapeMissing", R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4, "'shape' is missing"},
        BadFile{"OffsetsMissing", R"({"w":{"dtype":"F32","shape":[1]}})", 4, "'data_offsets' is missing"},
        BadFile{"FieldUnknown", R"({"w":{"dtype":"F32","strides":[1]}})", 4, "unknown field 'strides'"},
        BadFile{"FieldTwice", R"({"w":{"dtype":"F32","dtype":"F32"}})", 4, "'dtype' appears twice"},
        BadFile{"NameTwice", "{" + tensor("F32", "[1]", "[0,4]") + "," + tensor("F32", "[1]", "[4,8]") + "}",
                8, "the name appears twice"},
        BadFile{"NegativeSize", one("F32", "[-1]", "[0,4]"), 4, "negative number"},
        BadFile{"FractionalSize", one("F32", "[1.5]", "[0,4]"), 4, "not a whole number"},
        BadFile{"SizeBeyond64Bits", one("F32", "[18446744073709551616]", "[0,4]"), 4, "not a whole number"},
        BadFile{"SizeBeyond63Bits", one("F32", "[18446744073709551615]", "[0,4]"), 4,
                "dimension is too large"},
        BadFile{"ProductOverflows", one("F32", "[4294967296,4294967296]", "[0,4]"), 4,
                "more elements than can be counted"},
        BadFile{"ProductOverflowsBehindZero", one("F32", "[0,4294967296,4294967296]", "[0,0]"), 0,
                "more elements than can be counted"},
        BadFile{"ShapeAgainstOffsets", one("F32", "[2]", "[0,4]"), 4,
                "needs 8 bytes for shape [2], its offsets span 4"},
        BadFile{"OffsetsReversed", one("F32", "[1]", "[4,0]"), 4, "lies at bytes 4 to 0"},
        BadFile{"BeyondData", one("F32", "[1000000000000]", "[0,4000000000000]"), 4, "holds 4 bytes of data"},
        BadFile{"OneOffset", one("F32", "[1]", "[4]"), 4, "data_offsets must be two numbers"},
        BadFile{"Hole", "{" + tensor("U8", "[1]", "[0,1]") + "," + tensor("U8", "[1]", "[2,3]", "v") + "}", 3,
                "neither holes"},
        BadFile{"Overlap", "{" + tensor("U8", "[2]", "[0,2]") + "," + tensor("U8", "[2]", "[1,3]", "v") + "}",
                3, "nor overlaps"},
        BadFile{"DataBehind", one("U8", "[1]", "[0,1]"), 5, "4 bytes of data belong to no tensor"},
        BadFile{"ShapeNested", one("F32", "[[1]]", "[0,4]"), 4, "a list where none is expected"},
        BadFile{"DtypeNumber", R"({"w":{"dtype":7}})", 0, "a number where none is expected"},
        BadFile{"ShapeText", R"({"w":{"dtype":"F32","shape":"1"}})", 0, "'shape' must be a list of numbers"},
        BadFile{"TensorNumber", R"({"w":5})", 0, "a number where none is expected"},
        BadFile{"TensorBoolean", R"({"w":true})", 0, "true or false where none is expected"},
        BadFile{"TensorNull", R"({"w":null})", 0, "null where a value is expected"},
        BadFile{"MetadataNumber", R"({"__metadata__":{"epoch":3}})", 0, "a number where none is expected"},
        BadFile{"MetadataNested", R"({"__metadata__":{"a":{"b":"c"}}})", 0,
                "an object where a value is expected"},
        BadFile{"MetadataTwice", R"({"__metadata__":{},"__metadata__":{}})", 0, "the name appears twice"}),
    [](const auto& info) { return info.param.name; });

TEST(SafeTensorsRejectionTest, LengthBeyondFile) {
  EXPECT_THAT(message_of(make_file("{}", 0, 3)), HasSubstr("claims 3 bytes, the file ends after 2"));
  EXPECT_THAT(message_of(make_file("{}", 0, ~std::uint64_t{0})), HasSubstr("at most 100000000 are read"));
}

TEST(SafeTensorsRejectionTest, FewerBytesThanTheLength) {
  EXPECT_THAT(message_of({}), HasSubstr("it has only 0 bytes"));
  EXPECT_THAT(message_of(to_bytes("1234567")), HasSubstr("it has only 7 bytes"));
}

TEST(SafeTensorsRejectionTest, DeepNestingNeedsNoStack) {
  const std::string deep = R"({"w":{"dtype":)" + std::string(1'000'000, '[');
  EXPECT_THAT(message_of(make_file(deep, 0)), HasSubstr("a list where none is expected"));
}

TEST(SafeTensorsRejectionTest, TooManyDimensions) {
  std::string shape = "[1";
  for (int i = 0; i < 64; ++i) shape += ",1";
  EXPECT_THAT(message_of(make_file(one("U8", shape + "]", "[0,1]"), 1)),
              HasSubstr("more than 64 dimensions"));
}

TEST(SafeTensorsRejectionTest, BoolsMustBeZeroOrOne) {
  auto bytes = make_file(one("BOOL", "[2]", "[0,2]"), 2);
  bytes.back() = std::byte{2};
  EXPECT_THAT(message_of(bytes), HasSubstr("BOOL but holds bytes other than 0 and 1"));
}

TEST(SafeTensorsRejectionTest, MissingFileAndFolder) {
  EXPECT_THROW(read_safetensors("no_such_folder/x.safetensors"), CheckpointError);
  EXPECT_THROW(read_safetensors(testing::TempDir()), CheckpointError);
}

TEST(SafeTensorsRejectionTest, EveryTruncationIsRefused) {
  const auto whole = make_file(one("F32", "[4]", "[0,16]"), 16);
  ASSERT_NO_THROW(parse_safetensors(whole, "whole"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(message_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}), "accepted")
        << size << " bytes";
  }
}

#ifdef BUNCHTRAIN_SHORTENED_FILE
TEST(SafeTensorsRejectionTest, AFileThatBecomesShorterIsRefused) {
  const std::string file = BUNCHTRAIN_SHORTENED_FILE;
  try {
    read_safetensors(file);
    FAIL() << "accepted";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr(file), HasSubstr("became shorter while it was read")));
  }
}
#endif

}  // namespace
}  // namespace bunchtrain::weights
