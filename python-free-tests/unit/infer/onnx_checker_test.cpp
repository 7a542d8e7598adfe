// SPDX-License-Identifier: Apache-2.0
/// Exported files before the checker of ONNX's own library, in a process of its own.
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "bunchtrain/infer/onnx_export.hpp"
#include "bundles.hpp"
#include "support/process.hpp"

namespace bunchtrain::infer::test {
namespace {

using models::ParticleNetOptions;

class OnnxCheckerTest : public ::testing::Test {
 protected:
  int check(const std::filesystem::path& file) const {
    return std::system((BUNCHTRAIN_ONNX_CHECK " " + file.string() + " 2>" + errors().string()).c_str());
  }
  std::filesystem::path errors() const { return folder_.path() / "errors"; }
  std::filesystem::path file() const { return folder_.path() / "model.onnx"; }
  void expect_sound(const std::filesystem::path& bundle, const OnnxOptions& options = {}) const {
    export_onnx(bundle, file(), options);
    EXPECT_EQ(check(file()), 0) << bunchtrain::test::read_file(errors());
  }

  const BundleFolder folder_;
};

TEST_F(OnnxCheckerTest, TakesWhatIsExported) {
  features::Card card = features::load_card("top_tagging");
  card.length = 40;
  auto keras = ParticleNetOptions::lite();
  keras.padding = models::PaddingRule::keras;
  keras.fusion = true;
  for (const auto& options : {ParticleNetOptions::lite(), keras}) {
    const auto bundle = folder_.write(make_bundle(card, options));
    for (const std::int64_t opset : {13, 17}) {
      expect_sound(bundle, {.opset = opset});
      expect_sound(bundle, {.opset = opset, .with_features = true});
    }
    expect_sound(bundle, {.profile = OnnxProfile::sofie});
    expect_sound(bundle, {.most_bytes = 1000});
  }
  for (const char* variant : {"fixed", "angle"}) expect_sound(folder_.write(make_generator_bundle(variant)));
}

TEST_F(OnnxCheckerTest, RefusesDamage) {
  export_onnx(folder_.write(make_generator_bundle("fixed")), file());
  std::string bytes = bunchtrain::test::read_file(file());
  bytes.replace(bytes.find("\"\tLeakyRelu") + 2, 9, "LeakyRulu");  // of a node, behind tag and length
  std::ofstream(file(), std::ios::binary) << bytes;
  EXPECT_NE(check(file()), 0);
  EXPECT_THAT(bunchtrain::test::read_file(errors()), ::testing::HasSubstr("LeakyRulu"));
}

}  // namespace
}  // namespace bunchtrain::infer::test
