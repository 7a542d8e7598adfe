// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/weights/bundle.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "bunchtrain/core/atomic_file.hpp"
#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/hash.hpp"
#include "bunchtrain/core/random.hpp"
#include "bunchtrain/weights/safetensors.hpp"

namespace bunchtrain::weights {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kModel = R"({"model": "net", "depth": 3, "rate": 0.1})";

Bundle make_bundle(double value = 1) {
  return {.weights = {{"fc.weight", at::full({2, 3}, value)}, {"count", at::arange(4)}},
          .model = kModel,
          .card = "card = 1\nname = \"toy\"\n",
          .classes = {"qcd", "top"},
          .metadata = {{"bunchtrain", "0.9.0"}, {"step", "42"}}};
}

template <class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "accepted";
}

class BundleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write_index(const std::string& text) const { write_file_atomically(place_ / "bundle.json", text); }
  /// Changes what bundle.json holds and puts its checksum right, as somebody who means harm would.
  void forge(const std::function<void(Json&)>& change) const {
    Json json = Json::parse(read_text_file(place_ / "bundle.json"));
    change(json["content"]);
    json["xxh3_128"] = hash_hex(json["content"].dump(1));
    write_index(json.dump());
  }
  std::string refusal() const {
    return message_of([&] { read_bundle(place_); });
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / ("bundle_test" + std::to_string(::getpid()));
  const fs::path place_ = folder_ / "top";
};

TEST_F(BundleTest, FilesOfOtherProgramsAreProvedToo) {
  Bundle bundle = make_bundle();
  write_bundle(place_, bundle);
  EXPECT_THAT(read_text_file(place_ / "bundle.json"), HasSubstr("\"version\": 1"));
  bundle.extras = {{"model.onnx", std::string("\0\1\2", 3)}, {"model_card.json", "{}"}};
  const std::string hash = write_bundle(place_, bundle);
  EXPECT_THAT(read_text_file(place_ / "bundle.json"), HasSubstr("\"version\": 2"));
  EXPECT_EQ(read_bundle(place_).hash, hash);
  EXPECT_EQ(fs::file_size(place_ / "model.onnx"), 3U);
  write_file_atomically(place_ / "model.onnx", "abc");
  EXPECT_THAT(message_of([&] { read_bundle(place_); }),
              AllOf(HasSubstr("model.onnx"), HasSubstr("is damaged")));
  bundle.extras = {{"../virus", ""}};
  EXPECT_THROW(write_bundle(place_, bundle), ConfigError);
}

TEST_F(BundleTest, ReadsBackWhatWasWritten) {
  EXPECT_FALSE(is_bundle(place_));
  const std::string hash = write_bundle(place_, make_bundle());
  EXPECT_TRUE(is_bundle(place_));
  const Bundle read = read_bundle(place_);
  EXPECT_TRUE(at::equal(read.weights["fc.weight"], at::full({2, 3}, 1.0)));
  EXPECT_TRUE(at::equal(read.weights["count"], at::arange(4)));
  EXPECT_EQ(read.model, kModel);
  EXPECT_EQ(read.card, make_bundle().card);
  EXPECT_EQ(read.classes, make_bundle().classes);
  EXPECT_EQ(read.metadata, make_bundle().metadata);
  EXPECT_EQ(read.hash, hash);
  EXPECT_EQ(read_safetensors(place_ / "model.safetensors").metadata.at("classes"), "qcd,top");
  EXPECT_EQ(entries(), 1U) << "nothing is left beside it";
}

TEST_F(BundleTest, NeedsNeitherDescriptionNorCard) {
  write_bundle(place_, {.weights = make_bundle().weights});
  const Bundle bare = read_bundle(place_);
  EXPECT_EQ(bare.model, "");
  EXPECT_EQ(bare.card, "");
  EXPECT_TRUE(bare.classes.empty());
  EXPECT_FALSE(fs::exists(place_ / "card.toml"));
  write_bundle(place_, {.weights = make_bundle().weights, .model = "net depth=3"});
  EXPECT_EQ(read_bundle(place_).model, "net depth=3") << "a line of version 0.1";
}

TEST_F(BundleTest, ABundleIsReplacedAsAWholeAndNothingElseIs) {
  write_bundle(place_, make_bundle(1));
  write_bundle(place_.string() + "/", {.weights = make_bundle(2).weights});
  EXPECT_EQ(read_bundle(place_).weights["fc.weight"][0][0].item<float>(), 2);
  EXPECT_FALSE(fs::exists(place_ / "card.toml")) << "of the one before";
  EXPECT_EQ(entries(), 1U);

  fs::create_directories(folder_ / "photos");
  EXPECT_THAT(message_of([&] { write_bundle(folder_ / "photos", make_bundle()); }),
              AllOf(HasSubstr("exists and is no bundle"), HasSubstr("choose another folder")));
  EXPECT_TRUE(fs::is_empty(folder_ / "photos"));
}

TEST_F(BundleTest, AFailedWriteLeavesTheOneBefore) {
  write_bundle(place_, make_bundle(1));
  Bundle broken = make_bundle(2);
  broken.weights.set("complex", at::full({2}, 1, at::kComplexFloat));
  EXPECT_THROW(write_bundle(place_, broken), CheckpointError);
  EXPECT_EQ(read_bundle(place_).weights["fc.weight"][0][0].item<float>(), 1);
  EXPECT_EQ(entries(), 1U);
  std::ofstream(folder_ / "file") << "text";
  EXPECT_THAT(message_of([&] { write_bundle(folder_ / "file" / "top", make_bundle()); }),
              AllOf(HasSubstr("cannot write the bundle"), HasSubstr("choose another folder")));
}

TEST_F(BundleTest, WhatIsMissingOrDamagedIsNamed) {
  EXPECT_THAT(refusal(), HasSubstr("bundle.json is missing"));
  for (const char* name : {"model.safetensors", "card.toml"}) {
    write_bundle(place_, make_bundle());
    fs::resize_file(place_ / name, fs::file_size(place_ / name) - 1);
    EXPECT_THAT(refusal(), AllOf(HasSubstr(name), HasSubstr("bytes instead of")));
    write_bundle(place_, make_bundle());
    std::fstream file(place_ / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end).put('~');
    file.close();
    EXPECT_THAT(refusal(), AllOf(HasSubstr(name), HasSubstr("is damaged: its checksum is")));
    write_bundle(place_, make_bundle());
    fs::remove(place_ / name);
    EXPECT_THAT(refusal(), AllOf(HasSubstr(name), HasSubstr("is missing")));
  }
  write_bundle(place_, make_bundle());
  fs::resize_file(place_ / "bundle.json", 17U << 20);
  EXPECT_THAT(refusal(), HasSubstr("that is none of a bundle's files"));
}

TEST_F(BundleTest, AForgedIndexIsRefused) {
  struct Forgery {
    std::function<void(Json&)> change;
    std::vector<std::string> parts;
  };
  Json deep = Json::array();
  for (int i = 0; i < 40; ++i) deep = Json::array({deep});
  for (const auto& [change, parts] : std::vector<Forgery>{
           {[](Json& content) { content["version"] = 3; },
            {"of version 3", "reads 1 and 2", "bunchtrain 0.9.0 or newer"}},
           {[](Json& content) {
              content["version"] = 3;
              content["metadata"] = Json::object();
            },
            {"use the bunchtrain that wrote it"}},
           {[](Json& content) { content["format"] = "something"; }, {"it is of another format"}},
           {[](Json& content) { content["files"][0]["name"] = "../../etc/passwd"; },
            {"it lists the file '../../etc/passwd'"}},
           {[](Json& content) { content["files"][1]["name"] = "/etc/passwd"; },
            {"it lists the file '/etc/passwd'"}},
           {[](Json& content) { content["files"][1] = content["files"][0]; },
            {"it lists 'model.safetensors' twice"}},
           {[](Json& content) { content["files"].erase(0); }, {"it lists no model.safetensors"}},
           {[](Json& content) { content["files"][0]["bytes"] = 1'000'000'000'000; },
            {"instead of 1000000000000"}},
           {[](Json& content) { content["model"] = 3; }, {"neither a description nor a text"}},
           {[](Json& content) { content["classes"] = "qcd"; }, {"cannot be used"}},
           {[](Json& content) { content.erase("metadata"); }, {"cannot be used"}},
           {[&](Json& content) { content["model"] = deep; }, {"nested too deeply"}}}) {
    write_bundle(place_, make_bundle());
    forge(change);
    for (const std::string& part : parts) EXPECT_THAT(refusal(), HasSubstr(part));
    EXPECT_THAT(refusal(), AllOf(HasSubstr("take another copy"), HasSubstr("top")));
  }
  write_bundle(place_, make_bundle());
  std::string text = read_text_file(place_ / "bundle.json");
  text.replace(text.find("\"top\""), 5, "\"pot\"");
  write_index(text);
  EXPECT_THAT(refusal(), HasSubstr("its checksum differs from its content"));
}

/// One to four edits: a flipped bit, a replaced byte, a piece cut out or doubled.
std::string mutate(std::string text, RandomSequence& random) {
  for (std::uint64_t edits = 1 + random.below(4); edits > 0 && !text.empty(); --edits) {
    const std::size_t place = random.below(text.size());
    const std::size_t length = 1 + random.below(std::min<std::size_t>(16, text.size() - place));
    switch (random.below(4)) {
      case 0:
        text[place] = static_cast<char>(text[place] ^ (1 << random.below(8)));
        break;
      case 1:
        text[place] = static_cast<char>(random.below(256));
        break;
      case 2:
        text.erase(place, length);
        break;
      default:
        text.insert(place, text.substr(place, length));
    }
  }
  return text;
}

/// Whatever bundle.json holds, sealed anew or not, reading it ends in a bundle or in a CheckpointError.
TEST_F(BundleTest, MutationsNeitherCrashNorEscape) {
  write_bundle(place_, make_bundle());
  const std::string whole = read_text_file(place_ / "bundle.json");
  const std::string content = Json::parse(whole)["content"].dump(1);
  RandomSequence random(CounterRandom(11, 3));
  int refused = 0, read = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string text = mutate(i % 2 == 0 ? whole : content, random);
    if (i % 2 == 1) {
      const Json tree = Json::parse(text, nullptr, /*allow_exceptions=*/false);
      if (tree.is_discarded()) continue;
      const std::string printed = tree.dump(1, ' ', false, Json::error_handler_t::replace);
      text = Json{{"content", tree}, {"xxh3_128", hash_hex(printed)}}.dump(-1, ' ', false,
                                                                           Json::error_handler_t::replace);
    }
    std::ofstream(place_ / "bundle.json", std::ios::binary) << text;
    try {
      EXPECT_EQ(read_bundle(place_).weights.size(), 2U);
      ++read;
    } catch (const CheckpointError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(read, 0);
}

}  // namespace
}  // namespace bunchtrain::weights
