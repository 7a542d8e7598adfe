// SPDX-License-Identifier: Apache-2.0
/// A tagger of two heads as a user trains it: flavour and energy, from the card to the scores.
#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "bunchtrain/weights/bundle.hpp"
#include "scores.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class HeadsTest : public UserSession {
 protected:
  std::string words(const std::string& name, const std::string& data, const std::string& more) const {
    return "--particles 24 --batch 100 --data " + data + " --run " + path(name) + " " + more;
  }
  Finished evaluate(const std::string& run_name, const std::string& more) const {
    return run(tool("evaluate " + path(run_name) + " --output " + path("scores.h5") + " --force " + more));
  }
  NamedTensors weights_of(const std::string& name) const {
    return checkpoint::read_snapshot(latest(name)).components.at("model").tensors;
  }
  std::vector<double> column(const char* name) const {
    return read_member<double>(path("scores.h5"), name, H5T_NATIVE_DOUBLE);
  }
};

TEST_F(HeadsTest, ToyJetsGiveFlavourAndEnergy) {
  const std::string jets = make_jets("toy.h5", 1200);
  const std::string flags = "--epochs 6 --learning-rate 0.01 --head energy:huber:2";
  const Finished trained = run(mpirun(2, train(words("two", jets, flags))));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(trained.output, AllOf(HasSubstr("head energy: \"jet.e\", mean "), HasSubstr("GeV")));
  const std::string metrics = read_file(folder_ / "two" / "metrics.jsonl");
  EXPECT_THAT(metrics, AllOf(HasSubstr("valid_flavour_auc"), HasSubstr("valid_energy_resolution"),
                             HasSubstr("valid_energy_bias")));
  EXPECT_THAT(read_file(folder_ / "two" / "report.html"),
              AllOf(HasSubstr("flavour: Results"), HasSubstr("energy: Regression"), HasSubstr("GeV")));
  EXPECT_THAT(checkpoint::read_info(latest("two")).metadata.at("model"),
              AllOf(HasSubstr("\"heads\""), HasSubstr("\"energy\"")));
  EXPECT_THAT(read_file(folder_ / "two" / "bundle" / "card.toml"),
              AllOf(HasSubstr("mean = "), HasSubstr("width = ")));

  for (const std::string source : {"two", "two/bundle"}) {
    const Finished done = evaluate(source, "--data " + jets);
    ASSERT_EQ(done.exit_code, 0) << done.output;
    EXPECT_THAT(done.output, AllOf(HasSubstr("1200 labelled samples"), HasSubstr("energy: Regression")));
    expect_learned(column("energy"), column("target_energy"));
    EXPECT_THAT(read_file(folder_ / "evaluation.html"),
                AllOf(HasSubstr("energy: Regression"), HasSubstr("toy.h5")));
  }
  const Finished shown = run(tool("report " + path("two")));
  EXPECT_EQ(shown.exit_code, 0) << shown.output;
}

TEST_F(HeadsTest, AHeadWithAnErrorOfItsOwnHasPulls) {
  const std::string jets = make_jets("toy.h5", 1200);
  const Finished trained =
      run(train(words("run", jets, "--epochs 6 --learning-rate 0.01 --head energy:gaussian")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(read_file(folder_ / "run" / "metrics.jsonl"), HasSubstr("valid_energy_pull_width"));
  EXPECT_THAT(read_file(folder_ / "run" / "report.html"), HasSubstr("Pulls"));
  const Finished done = evaluate("run", "--data " + jets);
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("Width of pulls"));
  const auto estimate = column("energy"), width = column("energy_width"), target = column("target_energy");
  expect_learned(estimate, target);
  std::vector<double> pull;
  for (std::size_t i = 0; i < width.size(); ++i) pull.push_back((estimate[i] - target[i]) / width[i]);
  EXPECT_GT(spread(pull), 0.3);
  EXPECT_LT(spread(pull), 3) << "errors are of the size of the residuals";
}

TEST_F(HeadsTest, AnyNumberOfRanksTrainsAlike) {
  const std::string jets = make_jets("toy.h5", 600);
  const std::string flags = "--precision float64 --epochs 1 --head energy --dropout 0.2 --optimizer sgd";
  for (int ranks = 1; ranks <= 3; ++ranks) {
    const std::string name = "ranks" + std::to_string(ranks);
    const Finished done = run(mpirun(ranks, train(words(name, jets, flags + " --sync-batch-norm"))));
    ASSERT_EQ(done.exit_code, 0) << done.output;
    const NamedTensors one = weights_of("ranks1"), other = weights_of(name);
    for (const auto& [tensor, values] : other)
      EXPECT_TRUE(values.allclose(one[tensor], 1e-8, 1e-10)) << ranks << " ranks: " << tensor;
  }
}

TEST_F(HeadsTest, AResumedRunIsBitEqual) {
  const std::string jets = make_jets("toy.h5", 600);
  const auto command = [&](const std::string& name, const std::string& more = "") {
    return mpirun(2, train("--particles 24 --epochs 2 --batch 60 --checkpoint-every 5 --data " + jets +
                           " --run " + path(name) + " " + (more.empty() ? "--head energy:0.3" : more)));
  };
  ASSERT_EQ(run(command("whole")).exit_code, 0);
  {
    Process process(command("cut"), folder_ / "log");
    EXPECT_TRUE(process.wait_until([&] { return lines("cut") >= 12; })) << process.output();
    process.signal(SIGUSR1);
    EXPECT_EQ(process.wait(), 85) << process.output();
  }
  const Finished changed = run(command("cut", "--resume"));
  EXPECT_EQ(changed.exit_code, 78) << changed.output;
  EXPECT_THAT(changed.output, HasSubstr("was trained otherwise"));
  const Finished resumed = run(command("cut", "--resume --head energy:0.3"));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.output;
  expect_same_weights("whole", "cut");
}

TEST_F(HeadsTest, AHeadStartsOnTheWeightsOfAClassifier) {
  const std::string jets = make_jets("toy.h5", 400);
  ASSERT_EQ(run(train(words("one", jets, "--epochs 1"))).exit_code, 0);
  const std::string init = "--max-steps 2 --head energy --init " + path("one/bundle");
  const Finished strict = run(mpirun(2, train(words("two", jets, init))));
  EXPECT_EQ(strict.exit_code, 78) << strict.output;
  EXPECT_THAT(strict.output, HasSubstr("heads.energy."));
  const Finished partial = run(mpirun(2, train(words("two", jets, init + " --init-mode partial"))));
  ASSERT_EQ(partial.exit_code, 0) << partial.output;
  EXPECT_THAT(partial.output, AllOf(HasSubstr("taken: "), HasSubstr("heads.energy.weight")));
  const Finished back = run(train(words("back", jets, "--max-steps 2 --init " + path("two/bundle"))));
  EXPECT_EQ(back.exit_code, 78) << back.output;
  EXPECT_THAT(back.output, HasSubstr("heads.energy."));
}

TEST_F(HeadsTest, AnEnsembleEstimatesTheMean) {
  const std::string jets = make_jets("toy.h5", 300);
  std::vector<std::vector<double>> estimates;
  for (const std::string name : {"a", "b"}) {
    const std::string flags = "--max-steps 2 --head energy --seed " + std::to_string(estimates.size() + 1);
    ASSERT_EQ(run(train(words(name, jets, flags))).exit_code, 0);
    ASSERT_EQ(evaluate(name, "--data " + jets).exit_code, 0);
    estimates.push_back(column("energy"));
  }
  const std::string both = path("a") + " " + path("b");
  const Finished done =
      run(tool("evaluate --run " + both + " --data " + jets + " --output " + path("mean.h5")));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  const auto mean = read_member<double>(path("mean.h5"), "energy", H5T_NATIVE_DOUBLE);
  ASSERT_EQ(mean.size(), estimates[0].size());
  for (std::size_t i = 0; i < mean.size(); ++i)
    EXPECT_NEAR(mean[i], 0.5 * (estimates[0][i] + estimates[1][i]), 1e-4 * std::abs(mean[i])) << "row " << i;

  ASSERT_EQ(run(train(words("bare", jets, "--max-steps 2"))).exit_code, 0);
  const Finished refused = run(tool("evaluate --run " + path("a") + " " + path("bare") + " --data " + jets));
  EXPECT_EQ(refused.exit_code, 78) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("beside the classes (energy)"), HasSubstr("it does: nothing")));
}

TEST_F(HeadsTest, BundlesOfOtherTargetsAreRefusedOnAllRanks) {
  const std::string jets = make_jets("toy.h5", 400), bundle = path("one/bundle");
  ASSERT_EQ(run(train(words("one", jets, "--max-steps 2 --head energy"))).exit_code, 0);
  std::string card = read_file(std::string(BUNCHTRAIN_SOURCE) + "/share/bunchtrain/cards/toy_jets.toml");
  card.replace(card.find("of = \"jet.e\""), 12, "of = \"log(jet.e)\"");
  std::ofstream(folder_ / "log.toml") << card;
  const std::string init = "--max-steps 2 --head energy --card " + path("log.toml") + " --init " + bundle;
  const Finished strict = run(mpirun(2, train(words("two", jets, init))));
  EXPECT_EQ(strict.exit_code, 78) << strict.output;
  EXPECT_THAT(strict.output, HasSubstr("knows the target 'energy' as \"jet.e\", card log as \"log(jet.e)\""));
  const Finished partial = run(mpirun(2, train(words("two", jets, init + " --init-mode partial"))));
  ASSERT_EQ(partial.exit_code, 0) << partial.output;
  EXPECT_THAT(partial.output, HasSubstr("its head will have to learn it"));

  weights::Bundle other = weights::read_bundle(bundle);
  other.card.replace(other.card.find("energy = {"), 6, "energie");
  weights::write_bundle(path("other"), other);
  const Finished refused = run(mpirun(2, tool("evaluate " + path("other") + " --data " + jets)));
  EXPECT_EQ(refused.exit_code, 78) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("estimates 'energy', which is no target of its card"));
}

TEST_F(HeadsTest, FilesWithoutTheTargetGiveScoresAlone) {
  const std::string jets = make_jets("toy.h5", 400), bare = path("bare.h5"), card = path("prongs.toml");
  std::string text = read_file(std::string(BUNCHTRAIN_SOURCE) + "/share/bunchtrain/cards/toy_jets.toml");
  text.insert(text.find("[targets]\n") + 10, "prongs = \"jet.prongs\"\n");
  std::ofstream(folder_ / "prongs.toml") << text;
  std::filesystem::copy_file(jets, bare);
  const hid_t opened = H5Fopen(bare.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(H5Ldelete(opened, "toy_prongs", H5P_DEFAULT), 0);
  H5Fclose(opened);

  const std::string flags = "--max-steps 2 --card " + card + " ";
  ASSERT_EQ(run(train(words("one", bare, flags))).exit_code, 0) << "without that head its column is not read";
  const Finished refused = run(mpirun(2, train(words("refused", bare, flags + "--head prongs"))));
  EXPECT_EQ(refused.exit_code, 78) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("has no dataset 'toy_prongs'"), HasSubstr("jet.prongs")));
  ASSERT_EQ(run(train(words("two", jets, flags + "--head prongs energy"))).exit_code, 0);

  const Finished of_one = evaluate("one", "--data " + bare);
  EXPECT_EQ(of_one.exit_code, 0) << of_one.output;
  const Finished of_two = run(mpirun(
      2, tool("evaluate " + path("two") + " --output " + path("scores.h5") + " --force --data " + bare)));
  ASSERT_EQ(of_two.exit_code, 0) << of_two.output;
  EXPECT_THAT(of_two.output,
              AllOf(HasSubstr("400 labelled samples"), HasSubstr("targets NaN"),
                    HasSubstr("energy: Regression"), ::testing::Not(HasSubstr("prongs: Regression"))));
  for (const double estimate : column("prongs")) EXPECT_TRUE(std::isfinite(estimate));
  for (const double target : column("target_prongs")) EXPECT_TRUE(std::isnan(target));
  for (const double target : column("target_energy")) EXPECT_GT(target, 0);
}

TEST_F(HeadsTest, WhatIsNoHeadIsRefusedOnAllRanks) {
  const std::string jets = make_jets("toy.h5", 200);
  const std::string card = path("plain.toml"), flat = path("flat.toml");
  std::ofstream(folder_ / "plain.toml") << [&] {
    std::string text = read_file(std::string(BUNCHTRAIN_SOURCE) + "/share/bunchtrain/cards/toy_jets.toml");
    const std::size_t begin = text.find("[targets]");
    return text.erase(begin, text.find("[output]") - begin);
  }();
  std::ofstream(folder_ / "flat.toml") << [&] {
    std::string text = read_file(card);
    const std::size_t begin = text.find("[label]");
    text.erase(begin, text.find("[output]") - begin);
    return text + "[targets]\nenergy = \"jet.e\"\n";
  }();
  struct Refusal {
    std::string flags;
    std::vector<std::string> parts;
  };
  for (const auto& [flags, parts] : std::vector<Refusal>{
           {"--head mass", {"has no target 'mass'; its [targets] are energy"}},
           {"--head energy --card " + card, {"no target 'energy', nor any other", "[targets]"}},
           {"--head energy --card " + flat, {"a [label]"}},
           {"--head energy:square", {"head = energy:square", "energy:huber:0.5"}},
           {"--head energy:-1", {"0 or more"}},
           {"--head energy:mse:1:2", {"energy:huber:0.5"}},
           {"--head energy energy:2", {"each target once"}},
           {"--head flavour", {"the classes' own head"}}}) {
    std::filesystem::remove_all(folder_ / "bad");
    const Finished refused = run(mpirun(2, train(words("bad", jets, flags))));
    EXPECT_EQ(refused.exit_code, 78) << flags << "\n" << refused.output;
    for (const std::string& part : parts) EXPECT_THAT(refused.output, HasSubstr(part)) << flags;
  }
}

}  // namespace
}  // namespace bunchtrain::test
