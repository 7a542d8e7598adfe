// SPDX-License-Identifier: Apache-2.0
/// Files with values that are not finite, weights of any scale and sign, one class, no
/// particles: what a user sees.
#include <fmt/format.h>

#include <cmath>

#include "bunchtrain/report/jsonl_writer.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

class OddDataTest : public UserSession {
 protected:
  static std::string trouble(const std::string& name) { return BUNCHTRAIN_TEST_DATA "/trouble/" + name; }
  static std::string shown(const Finished& done, const std::string& words) {
    return words + "\n" + done.output;
  }

  Finished train_on(const std::string& file, const std::string& card, const std::string& words = "",
                    const std::string& name = "run") const {
    return run(train(fmt::format("--data {} --card {} --batch 16 --epochs 2 --particles 30 --run {} {}",
                                 trouble(file), card, path(name), words)));
  }
  void expect_refused(const Finished& done, const std::vector<std::string>& parts) const {
    EXPECT_EQ(done.exit_code, 78) << done.output;
    for (const auto& part : parts) EXPECT_NE(done.output.find(part), std::string::npos) << shown(done, part);
  }
  void expect_trained(const Finished& done, const std::vector<std::string>& parts = {}) const {
    EXPECT_EQ(done.exit_code, 0) << done.output;
    for (const auto& part : parts) EXPECT_NE(done.output.find(part), std::string::npos) << shown(done, part);
  }
  /// A copy of a card with a line more under one of its tables, as a message tells to paste it.
  std::string card_with(const std::string& source, const std::string& table, const std::string& line) const {
    std::string text = read_file(source);
    const auto at = text.find("[" + table + "]\n");
    EXPECT_NE(at, std::string::npos) << table;
    text.insert(at + table.size() + 3, line + "\n");
    std::ofstream(path("mended.toml")) << text;
    return path("mended.toml");
  }
  std::string jetnet() const {
    const Finished shown =
        run("cat " + std::string(BUNCHTRAIN_SOURCE) + "/share/bunchtrain/cards/jetnet.toml");
    std::ofstream(path("jetnet.toml")) << shown.output;
    return path("jetnet.toml");
  }
  std::vector<double> losses(const std::string& name) const {
    std::vector<double> values;
    for (const auto& record : report::read_jsonl(folder_ / name / "metrics.jsonl"))
      if (report::text(record, "kind") == "step") values.push_back(report::number(record, "loss"));
    return values;
  }
};

TEST_F(OddDataTest, NoParticleAtAll) {
  expect_refused(train_on("no_particles.h5", "jetnet"), {"no_particles.h5", "has a real particle", "mask"});
}

TEST_F(OddDataTest, InfinityInARealParticle) {
  expect_refused(train_on("inf_in_a_real_particle.h5", "jetnet"),
                 {"inf_in_a_real_particle.h5, row 67, particle 0: part.", " is inf", "mask = \""});
}

TEST_F(OddDataTest, InfinityIsNotEvaluatedEither) {
  expect_trained(train_on("jets90.h5", "jetnet"));
  expect_refused(
      run(tool("evaluate --run " + path("run") + " --data " + trouble("inf_in_a_real_particle.h5"))),
      {"row 67, particle 0", " is inf"});
}

TEST_F(OddDataTest, NanLabelsAreNamedAndCounted) {
  expect_refused(train_on("nan_label.h5", "jetnet"), {"NaN (1 jets, the first: ", "nan_label.h5, row 67)"});
  expect_trained(train_on("nan_label.h5", card_with(jetnet(), "label", "others = \"drop\"")),
                 {"1 of 90 jets are left out because of NaN or infinity"});
}

TEST_F(OddDataTest, OneClassTeachesNothing) {
  expect_refused(train_on("one_class_only.h5", "jetnet"),
                 {"nothing to learn: all ", "take [label] out of the card"});
}

TEST_F(OddDataTest, EvaluationOfOneClassPrintsNoNan) {
  expect_trained(train_on("jets90.h5", "jetnet"));
  const Finished done =
      run(tool("evaluate --run " + path("run") + " --data " + trouble("one_class_only.h5")));
  expect_trained(done, {"none of them is "});
  EXPECT_EQ(done.output.find("nan"), std::string::npos) << done.output;
}

TEST_F(OddDataTest, ACommonFactorOfWeightsChangesNothing) {
  expect_trained(train_on("jets90.h5", "jetnet", "--valid-fraction 0.4", "plain"));
  expect_trained(train_on("weights_of_1e-9.h5", trouble("weights.toml"), "--valid-fraction 0.4", "scaled"),
                 {"mean magnitude 1"});
  const auto plain = losses("plain"), scaled = losses("scaled");
  ASSERT_EQ(plain.size(), scaled.size());
  ASSERT_FALSE(plain.empty());
  for (std::size_t i = 0; i < plain.size(); ++i)
    EXPECT_NEAR(scaled[i], plain[i], 1e-6 * plain[i]) << "step " << i;
}

TEST_F(OddDataTest, NegativeWeightsTrainOrAreTakenOut) {
  expect_trained(train_on("weights_negative.h5", trouble("weights.toml"), "", "signed"),
                 {"18 of ", "have a negative weight", "docs/cards.md"});
  const std::string card = read_file(trouble("weights.toml"));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = card;
    text.replace(text.find(from), from.size(), to);
    std::ofstream(path("mended.toml")) << text;
    return path("mended.toml");
  };
  for (const auto& way_out : {with("\"jet.w\"", "\"abs(jet.w)\""),
                              with("[weights]", "[select]\njets = \"jet.w > 0\"\n[weights]")}) {
    const Finished done = train_on("weights_negative.h5", way_out, "", "positive");
    expect_trained(done);
    EXPECT_EQ(done.output.find("negative weight"), std::string::npos) << done.output;
    std::filesystem::remove_all(folder_ / "positive");
  }
}

}  // namespace
}  // namespace bunchtrain::test
