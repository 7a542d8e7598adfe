// SPDX-License-Identifier: Apache-2.0
#include "bunchtrain/infer/model_folder.hpp"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/core/sha256.hpp"
#include "bundles.hpp"
#include "support/message_of.hpp"

namespace bunchtrain::infer::test {
namespace {

namespace fs = std::filesystem;
using bunchtrain::test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ModelFolderTest : public ::testing::Test {
 protected:
  ModelFolderTest() {
    add_model(models_, lite_, "top-tagger");
    add_model(models_, folder_.write(make_generator_bundle("fixed"), "showers"));
  }
  std::vector<std::string> faults() const {
    std::vector<std::string> all;
    for (const ModelFault& fault : verify_models(models_)) all.push_back(fault.place + " " + fault.what);
    return all;
  }
  static void append(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::app) << text;
  }

  const BundleFolder folder_;
  const fs::path models_ = folder_.path() / "models";
  const fs::path lite_ = folder_.write(
      make_bundle(features::load_card("top_tagging"), models::ParticleNetOptions::lite()), "lite");
};

TEST_F(ModelFolderTest, KeepsBundlesWithTheirChecksums) {
  const auto listed = list_models(models_);
  ASSERT_EQ(listed.size(), 2U);
  EXPECT_EQ(listed[0].name, "showers");
  EXPECT_EQ(listed[0].network, "3dgan-generator");
  EXPECT_EQ(listed[1].name, "top-tagger");
  EXPECT_EQ(listed[1].network, "particlenet-lite");
  EXPECT_THAT(listed[1].classes, ElementsAre("qcd", "top"));
  EXPECT_EQ(listed[1].hash, weights::read_bundle_content(lite_).hash);
  EXPECT_THAT(faults(), IsEmpty());
  const std::string check =
      "cd " + (models_ / "top-tagger").string() + " && sha256sum --check --strict --quiet SHA256SUMS";
  EXPECT_EQ(std::system(check.c_str()), 0);
}

TEST_F(ModelFolderTest, NamesWhatIsNotInOrder) {
  append(models_ / "top-tagger" / "card.toml", "\n");
  append(models_ / "top-tagger" / "SHA256SUMS",
         std::string(64, '0') + "  card.toml\nnonsense\n" + std::string(64, '0') + "  ../x\n");
  append(models_ / "top-tagger" / "notes.txt", "x");
  fs::remove(models_ / "showers" / "model.safetensors");
  append(models_ / "README", "x");
  fs::create_directory(models_ / "empty");
  fs::copy(models_ / "top-tagger", models_ / "Top-Tagger");
  fs::remove(models_ / "Top-Tagger" / "SHA256SUMS");
  const std::vector<std::string> found = faults();
  for (const char* fault :
       {"README is foreign: no bundle", "Top-Tagger has no SHA256SUMS",
        "empty is no bundle: it has no bundle.json", "showers/model.safetensors is missing",
        "top-tagger is Top-Tagger but for the case of letters",
        "top-tagger/card.toml is damaged: its SHA-256 is another",
        "top-tagger/card.toml is listed twice by SHA256SUMS",
        "top-tagger/SHA256SUMS has the line 'nonsense', which is no checksum", "which is no checksum",
        "top-tagger/notes.txt is foreign: SHA256SUMS does not list it", "card.toml has "})
    EXPECT_THAT(found, ::testing::Contains(HasSubstr(fault)));
  EXPECT_THAT(list_models(models_)[1].fault, HasSubstr("model.safetensors is missing"));
}

TEST_F(ModelFolderTest, TheSameNetworkTwiceIsSaid) {
  fs::copy(models_ / "top-tagger", models_ / "zz");
  EXPECT_THAT(faults(), ElementsAre("zz is the network of top-tagger once more"));
}

TEST_F(ModelFolderTest, RefusesNamesThatAreTakenOrNone) {
  const auto other = folder_.write(make_generator_bundle("angle"), "other");
  EXPECT_THAT(message_of([&] { add_model(models_, other, "Top-tagger"); }),
              HasSubstr("one that is not taken"));
  EXPECT_THAT(message_of([&] { add_model(models_, other, "a/b"); }), HasSubstr("letters, digits"));
  EXPECT_THAT(message_of([&] { add_model(models_, other, ".hidden"); }), HasSubstr("letters, digits"));
  EXPECT_THAT(message_of([&] { add_model(models_, lite_, "again"); }),
              HasSubstr("top-tagger is this network already"));
  EXPECT_THAT(message_of([&] { add_model(models_, folder_.path() / "nowhere"); }),
              HasSubstr("bundle.json is missing"));
  EXPECT_THAT(message_of([&] { list_models(folder_.path() / "nowhere"); }), HasSubstr("a folder of models"));
  append(folder_.path() / "file", "x");
  EXPECT_THAT(message_of([&] { add_model(folder_.path() / "file" / "models", other); }),
              HasSubstr("cannot be written"));
  EXPECT_EQ(list_models(models_).size(), 2U);
}

TEST(Sha256Test, IsTheStandards) {
  const auto sum_of = [](std::string_view text) {
    Sha256 sum;
    for (const char& letter : text) sum.update(std::as_bytes(std::span(&letter, 1)));
    return sum.hex();
  };
  EXPECT_EQ(sum_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sum_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sum_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

}  // namespace
}  // namespace bunchtrain::infer::test
