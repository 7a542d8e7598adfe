// SPDX-License-Identifier: Apache-2.0
/// `bunchtrain evaluate`: the table, scores.h5, the same result on any number of ranks.
#include <hdf5.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "bunchtrain/checkpoint/store.hpp"
#include "scores.hpp"
#include "user_session.hpp"

namespace bunchtrain::test {
namespace {

class EvaluateTest : public UserSession {
 protected:
  void SetUp() override {
    UserSession::SetUp();
    const std::string jets = make_jets("toy.h5", 1500);
    const Finished trained = run(train("--particles 24 --epochs 1 --data " + jets + " --run " + path("run")));
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
  }
};

TEST_F(EvaluateTest, WritesScoresInTheRowOrderOfTheFile) {
  const std::string other = make_jets("other.h5", 401, 9);
  const Finished done = run(tool("evaluate --run " + path("run") + " --data " + other));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  for (const char* said : {"accuracy", "AUC", "1/eB"})
    EXPECT_NE(done.output.find(said), std::string::npos) << done.output;
  const Scores scores = read_scores(path("run/scores.h5"));
  ASSERT_EQ(scores.row.size(), 401U);
  for (std::size_t i = 0; i < scores.row.size(); ++i) {
    EXPECT_EQ(scores.row[i], static_cast<std::int64_t>(i));
    EXPECT_EQ(scores.selected[i], 1);
    EXPECT_GE(scores.label[i], 0);
    EXPECT_TRUE(scores.qcd[i] >= 0 && scores.qcd[i] <= 1) << scores.qcd[i];
  }
}

TEST_F(EvaluateTest, AnyNumberOfRanksWritesTheSame) {
  const std::string other = make_jets("other.h5", 401, 9);
  const std::string words = "evaluate --run " + path("run") + " --data " + other + " --output ";
  ASSERT_EQ(run(tool(words + path("one.h5"))).exit_code, 0);
  const Finished two = run(mpirun(2, tool(words + path("two.h5"))));
  ASSERT_EQ(two.exit_code, 0) << two.output;
  const Scores first = read_scores(path("one.h5"));
  const Scores second = read_scores(path("two.h5"));
  EXPECT_EQ(first.label, second.label);
  ASSERT_EQ(first.qcd.size(), second.qcd.size());
  for (std::size_t i = 0; i < first.qcd.size(); ++i)
    EXPECT_NEAR(first.qcd[i], second.qcd[i], 1e-5) << "row " << i;
}

TEST_F(EvaluateTest, AveragedWeightsAreTakenUnlessSwitchedOff) {
  const std::string jets = path("toy.h5"), other = make_jets("other.h5", 100, 9);
  const Finished trained =
      run(train("--particles 24 --epochs 1 --ema 0.9 --data " + jets + " --run " + path("ema")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const auto scores_of = [&](const std::string& name, const std::string& words, bool averaged) {
    const Finished done = run(tool("evaluate --run " + path(name) + " --data " + other +
                                   " --force --output " + path("s.h5") + words));
    EXPECT_EQ(done.exit_code, 0) << done.output;
    EXPECT_EQ(done.output.find("averaged weights") != std::string::npos, averaged) << done.output;
    return read_scores(path("s.h5")).qcd;
  };
  const auto plain = scores_of("run", "", false);
  EXPECT_EQ(scores_of("ema", " --average off", false), plain) << "averages change nothing in the training";
  EXPECT_NE(scores_of("ema", "", true), plain);
}

TEST_F(EvaluateTest, UnlabelledFilesGetScoresAndLabelMinusOne) {
  const std::string other = make_jets("other.h5", 100, 9);
  const hid_t file = H5Fopen(other.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(H5Ldelete(file, "jet_label", H5P_DEFAULT), 0);
  H5Fclose(file);
  const Finished done = run(tool("evaluate --run " + path("run") + " --data " + other));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  const Scores scores = read_scores(path("run/scores.h5"));
  ASSERT_EQ(scores.label.size(), 100U);
  for (const auto label : scores.label) EXPECT_EQ(label, -1);
}

/// Says "N labelled samples".
std::int64_t labelled(const std::string& output) {
  const std::size_t end = output.find(" labelled samples");
  if (end == std::string::npos) return -1;
  const std::size_t begin = output.find_last_not_of("0123456789", end - 1) + 1;
  return std::stoll(output.substr(begin, end - begin));
}

TEST_F(EvaluateTest, JetsThatWereTrainedOnAreCountedAndTheKeptPartIsFoundAgain) {
  const std::string evaluate = "evaluate " + path("run");
  const Finished kept = run(tool(evaluate + " --split valid"));
  ASSERT_EQ(kept.exit_code, 0) << kept.output;
  EXPECT_EQ(kept.output.find("trained on"), std::string::npos) << kept.output;
  const std::int64_t valid = labelled(kept.output);
  EXPECT_TRUE(valid > 80 && valid < 250) << kept.output;
  const Scores scores = read_scores(path("run/scores.h5"));
  EXPECT_EQ(std::count(scores.selected.begin(), scores.selected.end(), 1), valid);
  // The run judged the same jets: its record says what it found.
  const std::string record = read_file(path("run/sections.json"));
  EXPECT_NE(record.find("On validation, " + std::to_string(valid) + " jets"), std::string::npos)
      << record.substr(0, 300);

  const Finished trained = run(tool(evaluate + " --split train"));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_EQ(labelled(trained.output), 1500 - valid);

  std::filesystem::copy_file(path("toy.h5"), path("copy.h5"));
  for (const char* name : {"toy.h5", "copy.h5"}) {
    const Finished all = run(tool(evaluate + " --data " + path(name)));
    ASSERT_EQ(all.exit_code, 0) << all.output;
    const std::string counted = std::to_string(1500 - valid);
    EXPECT_NE(all.output.find(counted.substr(0, 1) + "," + counted.substr(1) +
                              " of these 1,500 jets were trained on"),
              std::string::npos)
        << all.output;
    EXPECT_NE(all.output.find("--split valid"), std::string::npos) << all.output;
  }
  const Finished both = run(tool(evaluate + " --data " + make_jets("new.h5", 50, 9) + " " + path("copy.h5")));
  EXPECT_NE(both.output.find(" of these 1,550 jets were trained on"), std::string::npos) << both.output;
  const Finished fresh = run(tool(evaluate + " --data " + path("new.h5")));
  EXPECT_EQ(fresh.output.find("trained on"), std::string::npos) << fresh.output;
  const Finished other = run(tool(evaluate + " --split valid --data " + path("new.h5")));
  EXPECT_EQ(other.exit_code, 78) << other.output;
  EXPECT_NE(other.output.find("toy.h5"), std::string::npos) << other.output;
}

TEST_F(EvaluateTest, ARunWithFilesOfItsOwnForValidationKeptNoPart) {
  const std::string other = make_jets("other.h5", 200, 9);
  const Finished trained = run(train("--particles 24 --epochs 1 --data " + path("toy.h5") + " --valid " +
                                     other + " --hash-data --run " + path("two")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const Finished kept = run(tool("evaluate " + path("two") + " --split valid"));
  EXPECT_EQ(kept.exit_code, 78);
  EXPECT_NE(kept.output.find("--valid"), std::string::npos) << kept.output;
  // Also where the run hashed every byte of its files, which an evaluation does not.
  const Finished all = run(tool("evaluate " + path("two") + " --data " + path("toy.h5")));
  EXPECT_NE(all.output.find("1,500 of these 1,500 jets were trained on"), std::string::npos) << all.output;
}

TEST_F(EvaluateTest, ThePageShowsEfficienciesAndIsTheSameForAnyNumberOfRanks) {
  const std::string evaluate =
      "evaluate " + path("run") +
      " --split valid --against jet.pt:3 --against 'log(jet.pt)' --working-point 0.4";
  std::string one_rank;
  for (const int ranks : {1, 2, 3}) {
    const Finished done = run(ranks == 1 ? tool(evaluate) : mpirun(ranks, tool(evaluate)));
    ASSERT_EQ(done.exit_code, 0) << done.output;
    for (const char* part :
         {"Confusion matrix", "taken for three_prong", "Expected calibration error",
          "Efficiency for three_prong against jet.pt", "against log(jet.pt)", "evaluation.html"})
      EXPECT_NE(done.output.find(part), std::string::npos) << part << "\n" << done.output;
    const std::string page = read_file(path("run/evaluation.html")),
                      results = read_file(path("run/scores.json"));
    EXPECT_NE(page.find("<h2>Efficiency for three_prong against jet.pt</h2>"), std::string::npos);
    EXPECT_NE(page.find("<dt>Mean AUC</dt>"), std::string::npos);
    if (ranks == 1) one_rank = results;
    EXPECT_EQ(results, one_rank) << ranks << " ranks";
  }
  EXPECT_EQ(read_scores(path("run/scores.h5")).label.size(), 1500U);
}

TEST_F(EvaluateTest, ColumnsThatAreNoneAreRefused) {
  const std::string evaluate = "evaluate " + path("run") + " --split valid --against ";
  const Finished bins = run(tool(evaluate + "jet.pt:no"));
  EXPECT_EQ(bins.exit_code, 78);
  EXPECT_NE(bins.output.find("jet.pt:8"), std::string::npos) << bins.output;
  const Finished column = run(tool(evaluate + "jet.nothing"));
  EXPECT_EQ(column.exit_code, 78);
  EXPECT_NE(column.output.find("nothing"), std::string::npos) << column.output;
}

TEST_F(EvaluateTest, SeveralRunsStandOnOnePage) {
  const Finished trained = run(train("--particles 24 --epochs 1 --learning-rate 0.004 --data " +
                                     path("toy.h5") + " --run " + path("other")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const std::string report = "report " + path("run") + " " + path("other") + " --out ";
  const Finished done = run(tool(report + path("both.html")));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  const std::string page = read_file(path("both.html"));
  for (const char* part : {"2 runs", "Final results", "Settings that differ", "0.004", "<h3>AUC</h3>"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  EXPECT_EQ(run(tool(report + path("run/run.json"))).exit_code, 78) << "a file that is read";
  EXPECT_EQ(run(tool("report " + path("run") + " --out " + path("one.html"))).exit_code, 78);
}

TEST_F(EvaluateTest, SeveralNetworksGiveTheMeanOfTheirProbabilities) {
  const std::string words =
      "--particles 24 --epochs 1 --ema 0.9 --model particlenet --data " + path("toy.h5");
  const Finished trained = run(train(words + " --run " + path("other")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const auto score = [&](const std::string& runs, const std::string& name, int ranks = 1) {
    const std::string command =
        tool("evaluate --run " + runs + " --split valid --against jet.pt:3 --output " + path(name));
    const Finished done = run(ranks == 1 ? command : mpirun(ranks, command));
    EXPECT_EQ(done.exit_code, 0) << done.output;
    return done.output;
  };
  score(path("run"), "a.h5");
  score(path("other") + "/bundle", "b.h5");
  const std::string both = path("run") + " " + path("other") + "/bundle";
  const std::string output = score(both, "both.h5");
  for (const char* said : {"mean of 2 networks: ", "Ensemble of 2 networks", "particlenet-lite",
                           "all together", "Efficiency for three_prong against jet.pt"})
    EXPECT_NE(output.find(said), std::string::npos) << said << "\n" << output;
  const Scores a = read_scores(path("a.h5")), b = read_scores(path("b.h5")),
               mean = read_scores(path("both.h5"));
  EXPECT_EQ(mean.selected, a.selected);
  for (std::size_t i = 0; i < mean.qcd.size(); ++i) {
    if (mean.selected[i]) {
      ASSERT_NEAR(mean.qcd[i], 0.5 * (a.qcd[i] + b.qcd[i]), 1e-6) << "row " << i;
    }
  }
  EXPECT_NE(a.qcd, b.qcd);
  score(both, "ranks.h5", 3);
  const Scores ranks = read_scores(path("ranks.h5"));
  EXPECT_EQ(ranks.label, mean.label);
  for (std::size_t i = 0; i < mean.qcd.size(); ++i) {
    if (mean.selected[i]) {
      ASSERT_NEAR(ranks.qcd[i], mean.qcd[i], 1e-5) << "row " << i;
    }
  }
  // Each network's own numbers are those that it has alone.
  const auto auc_of = [&](const std::string& name) {
    const std::string page = read_file(path(name)), key = R"("all others",")";
    return page.substr(page.find(key) + key.size(), 7);  // five digits
  };
  const std::string results = read_file(path("both.json"));
  for (const char* alone : {"a.json", "b.json"})
    EXPECT_NE(results.find("\"" + auc_of(alone)), std::string::npos) << auc_of(alone) << "\n" << results;
  // Averages of a run, which is found in its folder; the results of several do not replace those of one.
  const std::string folders = "evaluate " + path("run") + " " + path("other") + " --split valid";
  const Finished averaged = run(tool(folders)), plain = run(tool(folders + " --average off"));
  EXPECT_NE(averaged.output.find("averaged weights"), std::string::npos) << averaged.output;
  EXPECT_EQ(plain.output.find("averaged weights"), std::string::npos) << plain.output;
  for (const char* name : {"run/ensemble.h5", "run/ensemble.json", "run/ensemble.html"})
    EXPECT_TRUE(std::filesystem::exists(path(name))) << name;
  EXPECT_FALSE(std::filesystem::exists(path("run/evaluation.html")));
  EXPECT_NE(read_file(path("run/ensemble.html")).find("<h2>Ensemble of 2 networks</h2>"), std::string::npos);
}

TEST_F(EvaluateTest, NetworksThatDoNotScoreTheSameJetsAreNoEnsemble) {
  const std::string words = "--epochs 1 --max-steps 2 --data " + path("toy.h5");
  const auto make = [&](const std::string& name, const std::string& more) {
    const Finished trained = run(train(words + more + " --run " + path(name)));
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
  };
  make("order", " --particles 24 --classes three_prong,two_prong,qcd");
  make("fewer", " --particles 20");
  make("seed", " --particles 24 --seed 7");
  const auto refused = [&](const std::string& other, const std::string& more,
                           const std::vector<std::string>& why) {
    const Finished done = run(mpirun(2, tool("evaluate --run " + path("run") + " " + path(other) + more)));
    EXPECT_EQ(done.exit_code, 78) << done.output;
    for (const std::string& part : why) EXPECT_NE(done.output.find(part), std::string::npos) << done.output;
  };
  const std::string valid = " --split valid";
  refused("order", valid, {"the order of the classes", "three_prong,two_prong,qcd"});
  refused("fewer", valid, {"the number of particles"});
  refused("run", valid, {"every network once"});
  refused("seed", valid, {"split", "not trained on the same part"});
  const Finished all =
      run(tool("evaluate " + path("run") + " " + path("seed") + " --data " + path("toy.h5")));
  EXPECT_EQ(all.exit_code, 0) << "without a part they may be of different ones\n" << all.output;
}

TEST_F(EvaluateTest, FewerJetsThanRanks) {
  const std::string one = make_jets("one.h5", 1, 9);
  const Finished done = run(mpirun(2, tool("evaluate " + path("run") + " --data " + one)));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_EQ(read_scores(path("run/scores.h5")).selected, std::vector<std::uint8_t>{1});
}

TEST_F(EvaluateTest, TakesTheSnapshotThatIsAskedFor) {
  const std::string evaluate = "evaluate " + path("run") + " --split valid --checkpoint ";
  const std::string name = latest("run").filename().string();
  for (const std::string& which : {std::string("best"), std::string("latest"), name}) {
    const Finished done = run(tool(evaluate + which));
    EXPECT_EQ(done.exit_code, 0) << done.output;
    EXPECT_NE(done.output.find(name + " (epoch 1, step "), std::string::npos) << done.output;
  }
  const Finished none = run(tool(evaluate + "step-000999"));
  EXPECT_EQ(none.exit_code, 78) << none.output;
  EXPECT_NE(none.output.find("step-000999"), std::string::npos) << none.output;
}

/// A damaged optimizer is no reason not to apply the weights; damaged weights are no reason to take others.
TEST_F(EvaluateTest, DamageIsNeverAnsweredByAnotherSnapshot) {
  const Finished trained =
      run(train("--particles 24 --epochs 2 --data " + path("toy.h5") + " --run " + path("two")));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const auto spoil = [](const std::filesystem::path& file) { std::filesystem::resize_file(file, 100); };
  const std::string evaluate = "evaluate " + path("two") + " --split valid --checkpoint latest";
  spoil(latest("two") / "optimizer.safetensors");
  EXPECT_EQ(run(tool(evaluate)).exit_code, 0);
  spoil(latest("two") / "model.safetensors");
  const Finished damaged = run(tool(evaluate));
  EXPECT_EQ(damaged.exit_code, 78) << damaged.output;
  EXPECT_NE(damaged.output.find("model.safetensors"), std::string::npos) << damaged.output;
}

TEST_F(EvaluateTest, WhatIsMissingOrTooMuchIsSaid) {
  const Finished nothing = run(tool("evaluate " + path("run")));
  EXPECT_EQ(nothing.exit_code, 78);
  for (const char* way : {"--data", "--split valid"})
    EXPECT_NE(nothing.output.find(way), std::string::npos) << nothing.output;
  const Finished no_run = run(tool("evaluate --data " + path("toy.h5") + " " + path("run")));
  EXPECT_EQ(no_run.exit_code, 78);
  EXPECT_NE(no_run.output.find("run"), std::string::npos) << no_run.output;
  const Finished several = run(tool("evaluate --run a --run b --data " + path("toy.h5")));
  EXPECT_EQ(several.exit_code, 78);
  EXPECT_NE(several.output.find("a holds no run"), std::string::npos) << several.output;
}

/// The program's own network is scored by the program; `bunchtrain evaluate` says so.
TEST_F(EvaluateTest, ANetworkOfTheProgramIsScoredByTheProgram) {
  const std::string run_folder = path("deep_set"), data = " --data " + path("toy.h5");
  ASSERT_EQ(run(example("custom_model", "--epochs 1 --run " + run_folder + data)).exit_code, 0);
  const Finished own = run(example("custom_model", "--evaluate --split valid --run " + run_folder));
  ASSERT_EQ(own.exit_code, 0) << own.output;
  EXPECT_GT(labelled(own.output), 80) << own.output;
  EXPECT_EQ(read_scores(run_folder + "/scores.h5").row.size(), 1500U);
  const Finished foreign = run(tool("evaluate " + run_folder + data));
  EXPECT_EQ(foreign.exit_code, 78) << foreign.output;
  for (const char* way : {"jet_tagging::evaluate", "register_model", "custom_model"})
    EXPECT_NE(foreign.output.find(way), std::string::npos) << foreign.output;
}

TEST_F(EvaluateTest, ANetworkOfTheProgramIsInFloat64ByTheFlagAlone) {
  const std::string run_folder = path("wide"), data = " --data " + path("toy.h5");
  const Finished trained =
      run(mpirun(2, example("custom_model", "--precision float64 --epochs 1 --run " + run_folder + data)));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const auto saved = checkpoint::read_snapshot(latest("wide"));
  for (const auto& [name, tensor] : saved.components.at("model").tensors)
    EXPECT_EQ(tensor.scalar_type(), at::kDouble) << name;
  const Finished own = run(example("custom_model", "--evaluate --split valid --run " + run_folder));
  EXPECT_EQ(own.exit_code, 0) << own.output;
}

TEST_F(EvaluateTest, ALoopWrittenByHandMakesARunToo) {
  const std::string other = make_jets("other.h5", 300, 5);
  const Finished trained =
      run(mpirun(2, example("custom_loop", "--batch 100 --epochs 1 --card toy_jets --data " + other +
                                               " --run " + path("by_hand"))));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const Finished done = run(tool("evaluate " + path("by_hand") + " --data " + path("toy.h5")));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_EQ(labelled(done.output), 1500);
}

TEST_F(EvaluateTest, DecodingOnADeviceThatIsNoneSaysWhy) {
  const std::string words = "evaluate --device cpu --run " + path("run") + " --data " + path("toy.h5");
  const Finished refused = run(tool(words + " --decode device"));
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.output.find("--decode device cannot be had here: "), std::string::npos) << refused.output;
  EXPECT_NE(refused.output.find("auto takes the host"), std::string::npos) << refused.output;
  const Finished done = run(tool(words + " --decode host"));
  EXPECT_EQ(done.exit_code, 0) << done.output;
}

TEST_F(EvaluateTest, AFolderWithoutARunIsRefused) {
  const Finished done = run(tool("evaluate --run " + path("nothing") + " --data " + path("toy.h5")));
  EXPECT_NE(done.exit_code, 0);
  EXPECT_NE(done.output.find("holds no run"), std::string::npos) << done.output;
}

/// Snapshots that other programs, or this one long ago, might have saved.
TEST_F(EvaluateTest, ASnapshotThatCannotBeEvaluatedSaysWhy) {
  const checkpoint::Snapshot ours = checkpoint::read_snapshot(latest("run"));
  struct Refusal {
    std::function<void(checkpoint::SaveRequest&)> change;
    std::string command;
    std::vector<std::string> parts;
  };
  const std::string evaluate = "evaluate " + path("other") + " --data " + path("toy.h5");
  const std::string generate =
      "generate showers --count 2 --out " + path("made.h5") + " --model " + path("other");
  const auto rename = [](checkpoint::SaveRequest& request, const std::string& name) {
    auto model = request.components.extract("model");
    model.key() = name;
    request.components.insert(std::move(model));
  };
  for (const auto& [change, command, parts] :
       std::vector<Refusal>{{[](auto& request) { request.metadata["model"] = "mine width=8"; },
                             evaluate,
                             {"of the network 'mine'", "particlenet", "register_model"}},
                            {[](auto& request) { request.metadata.erase("card"); },
                             evaluate,
                             {"does not say the data card", "metadata {\"card\", train->summary().card}"}},
                            {[&](auto& request) { rename(request, "net-model"); },
                             evaluate,
                             {"holds no 'model' but net-model", "evaluate(session, options, make, NETWORK)"}},
                            {[](auto& request) { request.metadata.erase("trained on"); },
                             "evaluate " + path("other") + " --split valid",
                             {"split", "does not say which files it was trained on"}},
                            {[&](auto& request) { rename(request, "generator-model"); },
                             generate,
                             {"is no run of train_3dgan", "its model is"}},
                            {{}, evaluate, {"has no snapshot yet", "finish an epoch first"}},
                            {{}, generate, {"has no snapshot yet", "finish an epoch first"}}}) {
    std::filesystem::remove_all(folder_ / "other");
    std::filesystem::copy(folder_ / "run", folder_ / "other", std::filesystem::copy_options::recursive);
    std::filesystem::remove_all(folder_ / "other" / "checkpoints");
    if (change) {
      checkpoint::SaveRequest request{.step = ours.info.step,
                                      .components = {{"model", ours.components.at("model")}},
                                      .metadata = ours.info.metadata,
                                      .metric = 0.5};
      change(request);
      checkpoint::Store(folder_ / "other" / "checkpoints", comm::Communicator::self()).save(request);
    }
    const Finished refused = run(tool(command));
    EXPECT_EQ(refused.exit_code, 78) << command << "\n" << refused.output;
    for (const std::string& part : parts)
      EXPECT_NE(refused.output.find(part), std::string::npos) << command << "\nlacks '" << part << "':\n"
                                                              << refused.output;
  }
}

}  // namespace
}  // namespace bunchtrain::test
