// SPDX-License-Identifier: Apache-2.0
/// Bundles as a user has them: evaluated like the run that they come from, and a start for other trainings.
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>

#include <fstream>
#include <functional>

#include "bunchtrain/weights/bundle.hpp"
#include "bunchtrain/weights/safetensors.hpp"
#include "scores.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class BundleTest : public UserSession {
 protected:
  void SetUp() override {
    UserSession::SetUp();
    jets_ = make_jets("toy.h5", 600);
    const Finished trained = run(train(words("run")));
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
  }
  std::string words(const std::string& name, const std::string& more = "") const {
    return "--particles 24 --epochs 1 --batch 100 --data " + jets_ + " --run " + path(name) + " " + more;
  }
  /// The newest snapshot of the run as a bundle.
  weights::Bundle bundle() const {
    const auto snapshot = checkpoint::read_snapshot(latest("run"));
    const auto& metadata = snapshot.info.metadata;
    return {.weights = snapshot.components.at("model").tensors,
            .model = metadata.at("model"),
            .card = metadata.at("card"),
            .metadata = {{"epoch", "1"}, {"trained on", metadata.at("trained on")}}};
  }
  std::string write(const std::string& name, const std::function<void(weights::Bundle&)>& change = {}) const {
    weights::Bundle changed = bundle();
    if (change) change(changed);
    weights::write_bundle(path(name), changed);
    return path(name);
  }
  NamedTensors weights_of(const std::string& name) const {
    return checkpoint::read_snapshot(latest(name)).components.at("model").tensors;
  }
  std::string jets_;
};

/// The lines of an evaluation that say how good the network is.
std::string table_of(const std::string& output) {
  const std::size_t begin = output.find("accuracy"), end = output.find("scores  ");
  return begin == std::string::npos ? output : output.substr(begin, end - begin);
}

TEST_F(BundleTest, IsEvaluatedLikeItsRun) {
  const Finished of_run = run(tool("evaluate " + path("run") + " --split valid"));
  ASSERT_EQ(of_run.exit_code, 0) << of_run.output;
  std::filesystem::create_directories(folder_ / "elsewhere");
  const Finished of_bundle = run(tool("evaluate " + write("elsewhere/top") + " --split valid"));
  ASSERT_EQ(of_bundle.exit_code, 0) << of_bundle.output;
  EXPECT_EQ(table_of(of_bundle.output), table_of(of_run.output));
  EXPECT_THAT(of_bundle.output, HasSubstr("elsewhere/top (epoch 1, step "));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "elsewhere" / "scores.h5")) << "beside the bundle";
  EXPECT_FALSE(std::filesystem::exists(folder_ / "elsewhere" / "top" / "scores.h5"));
  const Finished warned = run(tool("evaluate " + path("elsewhere/top") + " --data " + jets_));
  EXPECT_THAT(warned.output, HasSubstr("jets were trained on"));
  const Finished chosen =
      run(tool("evaluate " + path("elsewhere/top") + " --split valid --checkpoint latest"));
  EXPECT_EQ(chosen.exit_code, 78);
  EXPECT_THAT(chosen.output, HasSubstr("nothing for a bundle, which holds one network"));
  const Finished inside = run(tool("evaluate " + path("elsewhere/top") + " --split valid --force --output " +
                                   path("elsewhere/top/model.safetensors")));
  EXPECT_EQ(inside.exit_code, 78) << inside.output;
}

TEST_F(BundleTest, TheTrainerLeavesItsBestWeights) {
  const Finished trained = run(train(words("averaged", "--ema 0.8")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  std::vector<std::string> tables;
  for (const std::string name : {"run", "averaged"}) {
    const Finished of_run = run(tool("evaluate " + path(name) + " --split valid"));
    ASSERT_EQ(of_run.exit_code, 0) << of_run.output;
    const Finished of_bundle = run(tool("evaluate " + path(name + "/bundle") + " --split valid"));
    ASSERT_EQ(of_bundle.exit_code, 0) << of_bundle.output;
    EXPECT_EQ(table_of(of_bundle.output), table_of(of_run.output)) << name;
    tables.push_back(table_of(of_run.output));
  }
  EXPECT_NE(tables[0], tables[1]) << "averaged weights are others";
}
TEST_F(BundleTest, IsScoredWithoutMpiAsItIsEvaluated) {
  const std::string bundle = path("run/bundle");
  ASSERT_EQ(
      run(tool("evaluate " + bundle + " --data " + jets_ + " --output " + path("evaluated.h5"))).exit_code,
      0);
  const Finished scored =
      run(tool("score --bundle " + bundle + " --data " + jets_ + " --output " + path("scored.h5")));
  ASSERT_EQ(scored.exit_code, 0) << scored.output;
  EXPECT_THAT(scored.output, HasSubstr("toy.h5 (600 jets)"));
  for (const char* member :
       {"row", "selected", "label", "score_qcd", "score_two_prong", "score_three_prong", "jet.pt"})
    EXPECT_EQ(read_member<double>(path("scored.h5"), member, H5T_NATIVE_DOUBLE),
              read_member<double>(path("evaluated.h5"), member, H5T_NATIVE_DOUBLE))
        << member;
  const Finished by_library = run(
      tool("score --io hdf5 --bundle " + bundle + " --data " + jets_ + " --output " + path("by_library.h5")));
  ASSERT_EQ(by_library.exit_code, 0) << by_library.output;
  EXPECT_EQ(read_member<double>(path("by_library.h5"), "score_qcd", H5T_NATIVE_DOUBLE),
            read_member<double>(path("scored.h5"), "score_qcd", H5T_NATIVE_DOUBLE));
  ASSERT_EQ(run(tool("score --bundle " + bundle + " --data " + jets_)).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run" / "scores.h5")) << "beside the bundle";
  const Finished measured =
      run(tool("bench infer --bundle " + bundle + " --data " + jets_ + " --batch 1 --seconds 0.01"));
  EXPECT_EQ(measured.exit_code, 0) << measured.output;
  EXPECT_THAT(measured.output, AllOf(HasSubstr("256 of " + jets_ + ", "), HasSubstr("to 24 particles, ")));
  const std::string cardless = write("cardless", [](auto& b) { b.card = ""; });
  const Finished no_jets = run(tool("bench infer --bundle " + cardless + " --data " + jets_));
  EXPECT_EQ(no_jets.exit_code, 78) << no_jets.output;
  EXPECT_THAT(no_jets.output, HasSubstr("nothing for a network that scores no jets"));
  struct Refusal {
    std::string words, said;
  };
  for (const auto& [words, said] :
       std::vector<Refusal>{{"--data " + jets_, "the folder of a bundle"},
                            {"--bundle " + bundle, "HDF5 files to score"},
                            {"--bundle " + bundle + " --data " + jets_ + " --batch 0", "at least 1"},
                            {"--bundle " + path("none") + " --data " + jets_, "none"},
                            {"--bundle " + bundle + " --data " + jets_ + " --output " + jets_, "toy.h5"}}) {
    const Finished refused = run(tool("score " + words));
    EXPECT_EQ(refused.exit_code, 78) << refused.output;
    EXPECT_THAT(refused.output, HasSubstr(said));
  }
}
TEST_F(BundleTest, IsKeptInAFolderOfModels) {
  const std::string models = " " + path("models") + " ";
  ASSERT_EQ(run(tool("models add" + models + "--bundle " + path("run/bundle") + " --name tagger")).exit_code,
            0);
  EXPECT_THAT(run(tool("models list" + models)).output, AllOf(HasSubstr("tagger"), HasSubstr("qcd,")));
  EXPECT_THAT(run(tool("models show" + models + "--name tagger")).output, HasSubstr("bunchtrain-model-card"));
  EXPECT_THAT(run(tool("models verify" + models)).output, HasSubstr("all in order"));
  std::ofstream(folder_ / "models" / "tagger" / "card.toml", std::ios::app) << "\n";
  const Finished damaged = run(tool("models verify" + models));
  EXPECT_EQ(damaged.exit_code, 2);
  EXPECT_THAT(damaged.output, HasSubstr("tagger/card.toml is damaged"));
  for (const char* words : {"models list", "models show", "models add", "models verify"})
    EXPECT_EQ(run(tool(words)).exit_code, 78) << words;
  EXPECT_EQ(run(tool("models show" + models)).exit_code, 78);
  EXPECT_THAT(run(tool("models add" + models)).output, HasSubstr("the folder of a bundle"));
}

TEST_F(BundleTest, IsExportedForOtherPrograms) {
  const std::string onnx = " --format onnx --out " + path("tagger.onnx");
  const Finished file = run(tool("export " + path("run") + onnx + " --opset 13"));
  ASSERT_EQ(file.exit_code, 0) << file.output;
  EXPECT_THAT(file.output, AllOf(HasSubstr("run/bundle"), HasSubstr("opset 13"), HasSubstr("tagger.onnx")));
  EXPECT_GT(std::filesystem::file_size(folder_ / "tagger.onnx"), 100'000U);
  EXPECT_EQ(run(tool("export " + path("run/bundle") + onnx)).exit_code, 0) << "its own file";

  const Finished whole = run(tool("export " + path("run") + " --out " + path("tagger.bundle") +
                                  " --with-features --licence CC0-1.0"));
  ASSERT_EQ(whole.exit_code, 0) << whole.output;
  for (const char* name : {"model.onnx", "model_card.json", "preprocess.json", "model.safetensors"})
    EXPECT_TRUE(std::filesystem::exists(folder_ / "tagger.bundle" / name)) << name;
  EXPECT_THAT(read_file(folder_ / "tagger.bundle" / "model_card.json"), HasSubstr("\"range\": ["));
  EXPECT_EQ(run(tool("score --bundle " + path("tagger.bundle") + " --data " + jets_)).exit_code, 0);
  const Finished refused = run(tool("export " + path("run") + onnx + " --profile sofie --with-features"));
  EXPECT_EQ(refused.exit_code, 78);
  EXPECT_THAT(refused.output, AllOf(HasSubstr("features needs "), HasSubstr("take --profile ort")));
  weights::Bundle foreign = bundle();
  foreign.model = "{\"model\": \"mine\"}";
  weights::write_bundle(path("foreign"), foreign);
  const Finished without = run(tool("export " + path("foreign")));
  EXPECT_EQ(without.exit_code, 0) << without.output;
  EXPECT_THAT(without.output, HasSubstr("onnx     left out: "));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "exported" / "model_card.json"));

  std::ofstream(folder_ / "none.json") << "[]";
  for (const auto& [words, said] : std::vector<std::pair<std::string, std::string>>{
           {"", "a run folder or a bundle"},
           {path("nothing"), "a run folder that holds one"},
           {path("run") + " --opset 9", "17 or 13"},
           {path("run") + " --format pt2", "bundle or onnx"},
           {path("run") + " --evaluation " + jets_, "toy.h5"},
           {path("run") + " --evaluation " + path("none.json"), "scores.json beside its scores"},
           {path("run") + " --out " + path("run/bundle"), "another folder than the bundle itself"},
           {path("run") + " --format onnx --out " + jets_, "toy.h5"}}) {
    const Finished refused = run(tool("export " + words));
    EXPECT_EQ(refused.exit_code, 78) << refused.output;
    EXPECT_THAT(refused.output, HasSubstr(said));
  }
}

TEST_F(BundleTest, ALoopWrittenByHandMakesOne) {
  ASSERT_EQ(run(example("custom_loop", "--batch 100 --epochs 1 --card toy_jets --data " + jets_ + " --run " +
                                           path("by_hand")))
                .exit_code,
            0);
  const Finished done = run(tool("evaluate " + path("by_hand/bundle") + " --data " + jets_));
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("600 labelled samples"));
}

TEST_F(BundleTest, WhatCannotBeUsedIsRefusedOnAllRanks) {
  struct Refusal {
    std::function<void(weights::Bundle&)> change;
    std::vector<std::string> parts;
  };
  for (
      const auto& [change, parts] : std::vector<Refusal>{
          {[](auto& b) { b.model = R"({"model": "mine"})"; }, {"of the network 'mine'", "register_model"}},
          {[](auto& b) { b.model = ""; }, {"does not say how it is built"}},
          {[](auto& b) { b.model = R"({"model": "3dgan-generator"})"; },
           {"of a 3DGAN, which scores no jets"}},
          {[](auto& b) { b.model = R"({"model": "particlenet", "num_classes": 3})"; },
           {"belongs to another model"}},
          {[](auto& b) { b.card = ""; }, {"does not say the data card"}},
          {[](auto& b) { b.card = "card = 2"; }, {"version 1"}},
          {[](auto& b) {
             b.classes = {"two_prong", "three_prong", "qcd"};
           },
           {"was trained on the classes two_prong,three_prong,qcd, its card says qcd,two_prong,three_prong"}}}) {
    std::filesystem::remove_all(folder_ / "bad");
    const Finished refused = run(mpirun(
        2, tool("evaluate " + write("bad", change) + " --data " + jets_ + " --output " + path("s.h5"))));
    EXPECT_EQ(refused.exit_code, 78) << refused.output;
    for (const std::string& part : parts) EXPECT_THAT(refused.output, HasSubstr(part));
  }
  write("bad");
  std::filesystem::resize_file(folder_ / "bad" / "model.safetensors", 100);
  const Finished damaged = run(mpirun(2, tool("evaluate " + path("bad") + " --data " + jets_)));
  EXPECT_EQ(damaged.exit_code, 78) << damaged.output;
  EXPECT_THAT(damaged.output, HasSubstr("bytes instead of"));
}

TEST_F(BundleTest, ATrainingStartsFromBundleRunOrFile) {
  const std::string at_rest = " --max-steps 1 --learning-rate 1e-30 --weight-decay 0 --optimizer sgd";
  const NamedTensors trained = weights_of("run");
  const std::string file = (latest("run") / "model.safetensors").string();
  for (const std::string& source :
       {"--init " + write("start"), "--init " + path("run"), "--init " + file, "--weights " + file}) {
    std::filesystem::remove_all(folder_ / "next");
    const Finished done = run(mpirun(2, train(words("next", source + at_rest))));
    ASSERT_EQ(done.exit_code, 0) << done.output;
    EXPECT_THAT(done.output, HasSubstr("taken: "));
    for (const auto& [name, tensor] : weights_of("next")) {
      if (!name.ends_with("weight")) continue;
      EXPECT_TRUE(at::equal(tensor, trained[name])) << source << " " << name;
    }
  }
}

TEST_F(BundleTest, FrozenParametersStayWhileOthersLearn) {
  const NamedTensors before = weights_of("run");
  const Finished done =
      run(mpirun(2, train(words("next", "--init " + path("run") + " --freeze 'edge_convs.*'"))));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("frozen: "));
  const NamedTensors after = weights_of("next");
  for (const auto& [name, tensor] : after) {
    if (!name.ends_with("weight") && !name.ends_with("bias")) continue;
    EXPECT_EQ(at::equal(tensor, before[name]), name.starts_with("edge_convs.")) << name;
  }
}

TEST_F(BundleTest, AHeadOfAnotherSizeStartsAnew) {
  std::string card = bundle().card;
  const auto replace = [&](const std::string& first, const std::string& last, const std::string& text) {
    const std::size_t begin = card.find(first);
    card.replace(begin, card.find(last, begin + first.size()) + last.size() - begin, text);
  };
  replace("\nclasses = [", "\n]", "\nclasses = [[\"light\", 0, 1], [\"heavy\", 2]]");
  replace("signal = \"three_prong", "\"", "signal = \"heavy\"");
  std::ofstream(folder_ / "two.toml") << card;
  const std::string two = words("two", "--card " + path("two.toml") + " --init " + write("start"));
  const Finished strict = run(train(two));
  EXPECT_EQ(strict.exit_code, 78) << strict.output;
  EXPECT_THAT(strict.output, HasSubstr("was trained on the classes qcd,two_prong,three_prong"));
  const Finished done = run(train(two + " --init-mode partial"));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_THAT(done.output,
              AllOf(HasSubstr("of another shape, and left as they were: fc.1.weight ([3, 128] there, "
                              "[2, 128] here), fc.1.bias ([3] there, [2] here)")));
}

TEST_F(BundleTest, WhatDoesNotFitAStartIsNamed) {
  const std::string start = "--init " + write("start");
  struct Refusal {
    std::string flags;
    std::vector<std::string> parts;
  };
  std::string card = bundle().card;
  for (const auto& [flags, parts] : std::vector<Refusal>{
           {start + " --classes three_prong,two_prong,qcd", {"--classes qcd,two_prong,three_prong"}},
           {start + " --classes three_prong,two_prong,qcd --init-mode partial",
            {"--classes qcd,two_prong,three_prong"}},
           {start + " --model particlenet", {"belongs to another model"}},
           {start + " --init-rename 'fcc=head'", {"fcc=head", "or the first parts of one"}},
           {start + " --init-rename fc", {"OLD=NEW"}},
           {start + " --freeze 'edge_conv.*'", {"edge_conv.*", "matches a parameter", "edge_convs.0"}},
           {start + " --weights x.safetensors", {"of which --weights is the old name"}},
           {"--init-mode partial", {"the weights that --init-mode and --init-rename are about"}},
           {"--init " + path("nothing"), {"nothing"}},
           {"--init " + write("other",
                              [&](auto& b) {
                                b.card = card;
                                b.card.replace(b.card.find("part.deta", b.card.find("points")), 9,
                                               "part.dphi");
                              }),
            {"was trained on other 'points'", "--init-mode partial"}},
           {"--model sum", {"sum", "particlenet-lite", "register_model"}},
           {"--model 3dgan-generator", {"this one reads 'latent'"}}}) {
    std::filesystem::remove_all(folder_ / "next");
    const Finished refused = run(mpirun(2, train(words("next", flags))));
    EXPECT_EQ(refused.exit_code, 78) << flags << "\n" << refused.output;
    for (const std::string& part : parts) EXPECT_THAT(refused.output, HasSubstr(part)) << flags;
  }
}

TEST_F(BundleTest, ThePaddingRuleIsPartOfTheModel) {
  const Finished trained = run(train(words("keras", "--padding-rule keras --max-steps 2")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(checkpoint::read_info(latest("keras")).metadata.at("model"),
              HasSubstr("\"padding\": \"keras\""));
  EXPECT_EQ(run(tool("evaluate " + path("keras") + " --split valid")).exit_code, 0);
}

}  // namespace
}  // namespace bunchtrain::test
